/* verify.c - POST /verify/run. */
#include "api/drive.h"

void verify_run(struct api_call *c)
{
	__attribute__((cleanup(oc_auto_drive))) struct drive d = { 0 };
	int epoch = 0;

	if (!drive_begin(&d, c, json_str(c->body, "case_id")))
		return;
	/* What runs now ends in VERIFYING, or it does not: then the door says so. */
	if (d.now.state == CASE_EXECUTING && d.now.command == CASE_COMMAND_OUT &&
	    !drive_while(&d, CASE_EXECUTING, d.now.epoch, "cmd.exec.run"))
		return;
	if (!drive_event(&d, EV_ASK_VERIFY, NULL, &epoch) ||
	    !drive_while(&d, CASE_VERIFYING, epoch, "cmd.verify.run"))
		return;
	drive_done(&d);
}
