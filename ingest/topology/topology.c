#include "ingest/topology/topology.h"
#include "ingest/topology/ansible.h"
#include "ingest/topology/pulumi.h"
#include "ingest/topology/terraform.h"

static enum oc_err read_json(const struct topo_file *f, const struct topology_ask *ask, struct topo *ret,
			     struct oc_fail *reterr)
{
	const struct json_limits limits = { .bytes = TOPO_BYTES_MAX, .depth = 64 };
	AUTO(json) json_t *doc = NULL;
	enum oc_err err = json_read(f->text, f->len, &limits, &doc, reterr);

	if (err != OC_OK)
		return err;
	if (terraform_knows(doc))
		return terraform_read(doc,
				      &(struct terraform_ask){ .stack = ask->stack, .applied = ask->applied },
				      ret, reterr);
	if (pulumi_knows(doc))
		return pulumi_read(doc, ask->stack, ret, reterr);
	return oc_fail_field(
		reterr, OC_INVALID, f->path,
		"%.200s is neither a Terraform state, nor `terraform show -json`, nor a Pulumi stack export",
		f->path);
}

static bool looks_like_json(const struct topo_file *f)
{
	size_t at = strspn(f->text, " \t\r\n");

	return at < f->len && f->text[at] == '{';
}

enum oc_err topology_read(const struct topo_file *files, size_t count, const struct topology_ask *ask,
			  struct topo *ret, struct oc_fail *reterr)
{
	size_t bytes = 0;

	if (count == 0)
		return oc_fail_field(reterr, OC_INVALID, "/files", "there is no file");
	if (count > TOPO_FILES_MAX)
		return oc_fail_field(reterr, OC_TOO_LARGE, "/files", "more than %d files", TOPO_FILES_MAX);
	for (size_t i = 0; i < count; i++)
		bytes += files[i].len;
	if (bytes > TOPO_BYTES_MAX)
		return oc_fail_field(reterr, OC_TOO_LARGE, "/files", "more than %zu bytes", TOPO_BYTES_MAX);
	if (count == 1 && looks_like_json(&files[0]))
		return read_json(&files[0], ask, ret, reterr);
	if (!ask->inventory && !ansible_knows(files, count))
		return oc_fail_field(
			reterr, OC_INVALID, "/files",
			"neither Terraform, nor Pulumi, nor an Ansible project with an inventory");
	return ansible_read(files, count,
			    &(struct ansible_ask){ .stack = ask->stack, .inventory = ask->inventory }, ret,
			    reterr);
}
