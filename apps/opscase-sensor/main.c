/* opscase-sensor - sees services from the kernel's side, and tells it as OTLP. The only privileged program of the house. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include "base/log.h"
#include "base/settings.h"
#include "sensor-bpf/host/sensor.h"

extern char **environ;

static int usage(void)
{
	struct text t = { 0 };

	text_add(&t,
		 "usage: opscase-sensor run|doctor [--config=FILE] [--sensor.NAME=VALUE ...]\n\n"
		 "  run      loads the probes and exports OTLP to sensor.endpoint; without one it prints what it sees\n"
		 "  doctor   loads each probe, says loaded, degraded or refused and why, and ends\n\n"
		 "Probes:\n");
	sensor_probes_print(&t);
	text_add(&t, "\nSettings (file, environment, command line):\n");
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = setting_row(i);

		if (str_starts(row->name, "sensor."))
			text_addf(&t, "  --%-18s %s Default: %s\n", row->name, row->help,
				  *row->def ? row->def : "(empty)");
	}
	fputs(text_str(&t), stdout);
	text_done(&t);
	return 0;
}

static int doctor(const struct settings *settings)
{
	struct text t = { 0 };
	bool fine = sensor_doctor(settings, &t);

	fputs(text_str(&t), stdout);
	text_done(&t);
	return fine ? 0 : oc_err_exit(OC_UNAVAILABLE);
}

int main(int argc, char **argv)
{
	AUTO(settings) struct settings *settings = settings_new();
	struct oc_fail fail = { 0 };
	sigset_t wanted;
	int fd;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return usage();
		if (strcmp(argv[i], "--version") == 0)
			return puts("opscase-sensor " OPSCASE_VERSION) < 0;
	}
	if (argc < 2 || (!str_eq(argv[1], "run") && !str_eq(argv[1], "doctor"))) {
		fprintf(stderr, "opscase-sensor: run or doctor? See opscase-sensor --help\n");
		return oc_err_exit(OC_BAD_REQUEST);
	}
	if (settings_load(settings, argc - 2, argv + 2, (const char *const *)environ, NULL, &fail) != OC_OK) {
		fprintf(stderr, "opscase-sensor: %s\n", fail.text);
		return oc_err_exit(fail.err);
	}
	log_set_level(log_level_parse(setting_text(settings, SET_LOG_LEVEL)));
	if (str_eq(argv[1], "doctor"))
		return doctor(settings);

	/* before any thread is made: they inherit the mask */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &wanted, SFD_CLOEXEC);
	if (fd < 0 || sensor_run(settings, fd, &fail) != OC_OK) {
		fprintf(stderr, "opscase-sensor: %s\n", fail.text);
		return oc_err_exit(fail.err);
	}
	return 0;
}
