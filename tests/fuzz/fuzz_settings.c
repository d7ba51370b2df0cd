/* A settings file by anybody: it is read, or refused with the file's name; and whatever holds then reads back from
 * how it is printed.
 *
 * Input: the file; what begins with -- is given as the command line's arguments instead, a line each. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void reads_back(const struct settings *s)
{
	AUTO(settings) struct settings *again = settings_new();
	AUTO(text) struct text printed = { 0 };
	struct oc_fail fail = { 0 };

	for (int i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = (enum setting_id)i;

		if (!setting_given(s, id))
			continue;
		if (settings_set(again, setting_row(id)->name, setting_value(s, id), "again", &fail) !=
			    OC_OK ||
		    !str_eq(setting_value(s, id), setting_value(again, id)))
			abort();
	}
	settings_print(s, &printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(str) char *text = mem_strndup((const char *)bytes, size);
	struct oc_fail fail = { 0 };
	enum oc_err err;

	if (str_starts(text, "--")) {
		char *argv[32], *save = NULL, *arg;
		int argc = 0, used = 0;

		for (arg = strtok_r(text, "\n", &save); arg && argc < 31; arg = strtok_r(NULL, "\n", &save))
			argv[argc++] = arg;
		argv[argc] = NULL;
		err = settings_read_args(s, argc, argv, &used, &fail);
		if (used > argc)
			abort();
	} else {
		err = settings_read_text(s, "f.conf", text, &fail);
		if (err != OC_OK && !strstr(fail.text, "f.conf"))
			abort();
	}
	if (err == OC_OK)
		reads_back(s);
	else if (!fail.text[0])
		abort();
	return 0;
}
