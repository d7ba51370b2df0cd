#define LOG_ROOM "up"
#include "apps/opscase/up_identity.h"
#include <string.h>
#include "apps/opscase/datadir.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/restore.h"
#include "wire/json/json.h"

enum oc_err up_identity_read(struct pg *pg, struct up_identity *ret, struct oc_fail *reterr)
{
	struct restore_mark mark;
	enum oc_err err = restore_mark_read(pg, &mark, reterr);

	if (err != OC_OK)
		return err;
	*ret = (struct up_identity){ .timeline = mark.timeline, .high_water = mark.committed };
	snprintf(ret->system, sizeof(ret->system), "%s", mark.system);
	snprintf(ret->installation, sizeof(ret->installation), "%s", mark.installation);
	return OC_OK;
}

enum oc_err up_identity_check(struct pg *pg, const char *data, bool fresh, struct text *ret_trouble,
			      struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/identity.json", data);
	AUTO(str) char *text = file_slurp(path);
	AUTO(json) json_t *known = NULL;
	struct restore_mark now;
	enum oc_err err = restore_mark_read(pg, &now, reterr);

	if (err != OC_OK)
		return err;
	if (fresh && !text)
		return OC_OK;
	if (!text || json_read_own(text, &known, NULL) != OC_OK)
		text_addf(
			ret_trouble,
			"%s is missing: it cannot be told whether the database was brought back from a backup",
			path);
	else if (!str_eq(json_str_or(known, "system_identifier", ""), now.system))
		text_add(ret_trouble,
			 "the database is another PostgreSQL system than the one this folder knew");
	else if (json_int_or(known, "timeline", 0) != now.timeline)
		text_addf(ret_trouble, "the database is on timeline %lld, this folder knew timeline %lld",
			  now.timeline, json_int_or(known, "timeline", 0));
	else if (!str_eq(json_str_or(known, "installation", ""), now.installation))
		text_add(ret_trouble,
			 "the database belongs to another installation than the one this folder knew");
	else if (json_int_or(known, "outbox_high_water", 0) > now.highest)
		text_addf(ret_trouble, "the database knows messages up to %lld, this folder has seen %lld",
			  now.highest, json_int_or(known, "outbox_high_water", 0));
	/* Noticed at an earlier start and not finished since. The database may have gone on beyond the mark meanwhile, so
	 * only the switch itself still knows. */
	if (ret_trouble->len == 0 && str_eq(now.effects, "off")) {
		text_add(ret_trouble,
			 *now.effects_reason ? now.effects_reason : "somebody switched them off");
		return OC_OK;
	}
	if (ret_trouble->len == 0)
		return OC_OK;
	return restore_effects_off(pg, ret_trouble->s, reterr);
}

enum oc_err up_identity_write(struct pg *pg, const char *data, struct up_identity *io_last,
			      struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/identity.json", data);
	AUTO(json) json_t *doc = NULL;
	AUTO(str) char *text = NULL;
	struct up_identity now;
	char at[40];
	enum oc_err err = up_identity_read(pg, &now, reterr);

	if (err != OC_OK)
		return err;
	/* pruning takes rows away; the mark never goes back */
	if (now.high_water < io_last->high_water && str_eq(now.system, io_last->system))
		now.high_water = io_last->high_water;
	if (memcmp(&now, io_last, sizeof(now)) == 0)
		return OC_OK;
	clock_format(clock_wall_us(), at, sizeof(at));
	doc = json_pack("{s:s,s:I,s:s,s:I,s:s}", "system_identifier", now.system, "timeline",
			(json_int_t)now.timeline, "installation", now.installation, "outbox_high_water",
			(json_int_t)now.high_water, "at", at);
	text = json_pretty(doc);
	err = file_put(path, text, 0644, reterr);
	if (err == OC_OK)
		*io_last = now;
	return err;
}
