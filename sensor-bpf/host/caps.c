#include "sensor-bpf/host/caps.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

static const cap_value_t values[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH };

const struct cap_row caps_kept[] = {
	{ "cap_bpf",             "reads the maps of the loaded programs"                                        },
	{ "cap_perfmon",         "attaches to TLS libraries of processes that start later, and takes profiles"  },
	{ "cap_sys_ptrace",      "looks at which program, libraries and open files other users' processes have" },
	{ "cap_dac_read_search",
         "opens the TLS libraries and programs of other users and other mount namespaces"                       },
};
const size_t caps_kept_count = ARRAY_LEN(caps_kept);

static void cap_done(cap_t c)
{
	cap_free(c);
}

enum oc_err caps_drop(struct oc_fail *reterr)
{
	cap_t have = cap_get_proc(), want = cap_init();
	enum oc_err err = OC_OK;

	if (!have || !want) {
		err = oc_fail(reterr, OC_UNAVAILABLE, "capabilities cannot be read: %s", strerror(errno));
		goto out;
	}
	/* for whatever this process would start */
	for (cap_value_t c = 0; c <= CAP_LAST_CAP; c++) {
		bool kept = false;

		for (size_t i = 0; i < ARRAY_LEN(values); i++)
			kept |= values[i] == c;
		if (!kept)
			cap_drop_bound(c); /* needs CAP_SETPCAP; without it nothing could be gained either */
	}
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		cap_flag_value_t held = CAP_CLEAR;

		if (cap_get_flag(have, values[i], CAP_PERMITTED, &held) != 0 || held != CAP_SET)
			continue;
		cap_set_flag(want, CAP_PERMITTED, 1, &values[i], CAP_SET);
		cap_set_flag(want, CAP_EFFECTIVE, 1, &values[i], CAP_SET);
	}
	if (cap_set_proc(want) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "capabilities cannot be dropped: %s", strerror(errno));
	else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "no_new_privs cannot be set: %s", strerror(errno));
out:
	if (have)
		cap_done(have);
	if (want)
		cap_done(want);
	return err;
}

void caps_now(char *out, size_t size)
{
	cap_t have = cap_get_proc();
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; have && i < ARRAY_LEN(values); i++) {
		cap_flag_value_t held = CAP_CLEAR;

		if (cap_get_flag(have, values[i], CAP_EFFECTIVE, &held) == 0 && held == CAP_SET &&
		    used < size)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "",
						 caps_kept[i].name);
	}
	if (have)
		cap_done(have);
}
