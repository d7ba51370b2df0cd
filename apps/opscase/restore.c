/* restore.c - opscase restore: after a database came back from a backup.
 *
 * Not an event of the case machine: no rule could tell what was done in the time that the database has
 * forgotten. So it is one transaction of its own, which parks whatever may have gone on as outcome_unknown, with a
 * row on each timeline, chained like every other. */
#include <string.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/local.h"
#include "apps/opscase/out.h"
#include "apps/opscase/show.h"
#include "apps/opscase/up_identity.h"
#include "base/clock.h"
#include "base/mem.h"
#include "orchestrator/batch.h"
#include "store/restore.h"

static long long known_mark(const char *data)
{
	AUTO(str) char *path = mem_printf("%s/identity.json", data), *text = file_slurp(path);
	AUTO(json) json_t *doc = NULL;

	return text && json_read_own(text, &doc, NULL) == OC_OK ? json_int_or(doc, "outbox_high_water", 0)
								: 0;
}

static enum oc_err status(struct cli *cli, struct pg *pg, const char *data, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/identity.json", data), *text = file_slurp(path);
	AUTO(json) json_t *doc = NULL, *known = NULL;
	AUTO(text) struct text out = { 0 };
	struct restore_mark now;
	enum oc_err err = restore_mark_read(pg, &now, reterr);

	if (err != OC_OK)
		return err;
	if (text && json_read_own(text, &known, NULL) != OC_OK)
		known = NULL;
	doc = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:O?}", "effects", now.effects, "reason",
			now.effects_reason, "installation", now.installation, "system_identifier", now.system,
			"timeline", (json_int_t)now.timeline, "outbox_high_water", (json_int_t)now.committed,
			"known", known);
	if (cli->json)
		return show_json(doc);
	text_add(&out, "effects are ");
	out_styled(&out, cli->colour, str_eq(now.effects, "on") ? OUT_GOOD : OUT_BAD, now.effects);
	if (*now.effects_reason)
		text_addf(&out, ": %s", now.effects_reason);
	text_addf(&out, "\nthe database: system %s, timeline %lld, messages up to %lld, installation %s\n",
		  now.system, now.timeline, now.committed, now.installation);
	if (known)
		text_addf(&out,
			  "this folder:  system %s, timeline %lld, messages up to %lld, installation %s\n",
			  json_str_or(known, "system_identifier", "?"), json_int_or(known, "timeline", 0),
			  json_int_or(known, "outbox_high_water", 0),
			  json_str_or(known, "installation", "?"));
	else
		text_addf(&out, "this folder:  no %s\n", path);
	if (!str_eq(now.effects, "on"))
		text_add(&out, "after looking: opscase restore --finish\n");
	fputs(out.s, stdout);
	return OC_OK;
}

static enum oc_err park(struct pg *pg, const struct restore_case *c, const char *actor, const char *sentence,
			int64_t now_us, struct oc_fail *reterr)
{
	AUTO(json) json_t *meta = json_pack("{s:s,s:s}", "park_reason", "outcome_unknown", "role", "admin");
	AUTO(str) char *meta_text = json_text(meta), *canonical = NULL;
	char hash[HASH_HEX];

	canonical = timeline_seal(&(struct timeline_row){ .tenant = c->tenant,
							  .case_id = c->case_id,
							  .event = "restored",
							  .from = c->status,
							  .to = "PARKED",
							  .actor = actor,
							  .reason = sentence,
							  .seq = c->seq + 1,
							  .version = c->version + 1,
							  .epoch = c->epoch + 1,
							  .at_us = now_us,
							  .meta = meta },
				  c->head_hex, hash);
	return restore_park(pg, c, sentence,
			    &(struct restore_row){ .event = "restored",
						   .actor = actor,
						   .reason = sentence,
						   .meta = meta_text,
						   .canonical = canonical,
						   .hash_hex = hash },
			    reterr);
}

static enum oc_err finish(struct pg *pg, const char *actor, long long mark, struct restore_sum *sum,
			  size_t *ret_parked, struct oc_fail *reterr)
{
	static const char sentence[] =
		"the database was restored from a backup: what happened since then is not known";
	AUTO(free) void *owned = NULL;
	struct restore_case *cases = NULL;
	size_t count = 0;
	int64_t now_us = clock_wall_us();
	enum oc_err err = pg_begin(pg, reterr);

	if (err == OC_OK)
		err = restore_cases(pg, &cases, &count, reterr);
	owned = cases;
	for (size_t i = 0; i < count && err == OC_OK; i++)
		err = park(pg, &cases[i], actor, sentence, now_us, reterr);
	if (err == OC_OK)
		err = restore_void(pg, mark, sum, reterr);
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	else
		pg_rollback(pg);
	*ret_parked = count;
	return err;
}

enum oc_err cli_restore(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(str) char *data = datadir_path(cli_option(cli, "data"));
	AUTO(pg) struct pg *pg = NULL;
	struct restore_sum sum = { 0 };
	struct restore_mark before;
	struct up_identity none = { 0 };
	const char *user = getenv("USER"), *actor = cli_option(cli, "actor") ? cli_option(cli, "actor")
						    : user                   ? user
									     : "restore";
	size_t parked = 0;
	enum oc_err err = local_database(cli, "postgres", &pg, reterr);

	if (err != OC_OK)
		return err;
	if (!cli_flag(cli, "finish"))
		return status(cli, pg, data, reterr);
	err = restore_mark_read(pg, &before, reterr);
	if (err == OC_OK && str_eq(before.effects, "on") && !cli_flag(cli, "force"))
		err = oc_fail(reterr, OC_ILLEGAL,
			      "effects are on: this database does not look restored. If it was, say --force");
	if (err == OC_OK)
		err = local_confirm(
			cli,
			"every open case is parked as outcome_unknown, every lease and open approval is void",
			reterr);
	if (err == OC_OK)
		err = finish(pg, actor, known_mark(data), &sum, &parked, reterr);
	/* From here on this is the database that the folder knows. */
	if (err == OC_OK && !cli_option(cli, "db"))
		err = up_identity_write(pg, data, &none, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		printf("{\"parked\":%zu,\"leases\":%lld,\"decisions\":%lld,\"runs\":%lld,\"steps\":%lld,\"installation\":\"%s\"}\n",
		       parked, sum.leases, sum.decisions, sum.runs, sum.steps, sum.installation);
	else
		printf("effects are on again, as installation %s\n"
		       "%zu cases parked as outcome_unknown, %lld commands and %lld decisions void, %lld runs with %lld open steps unknown\n"
		       "look at what was done, then say so: opscase case list --reason outcome_unknown; opscase case settle ID applied|not_applied\n",
		       sum.installation, parked, sum.leases, sum.decisions, sum.runs, sum.steps);
	return OC_OK;
}
