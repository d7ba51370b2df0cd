/* opscased - every role of opscase, or some of them, as threads of one process. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include "apps/opscased/service.h"
#include "base/log.h"

#define TIDY_MS 10000

extern char **environ;

static int usage(void)
{
	struct text t = { 0 };

	settings_print_reference(&t);
	printf("usage: opscased [--config=FILE] [--NAME=VALUE ...]\n\n"
	       "Runs the roles of opscase. SIGHUP reads policies, runbooks and what else may change again;\n"
	       "SIGTERM ends it in order. `opscase up` runs it with a private PostgreSQL and NATS.\n\n%s",
	       text_str(&t));
	text_done(&t);
	return 0;
}

/* What may change while it runs; a file that does not read any more changes nothing. */
static void settings_again(struct settings *settings, int argc, char **argv)
{
	AUTO(settings) struct settings *fresh = settings_new();
	struct text restart = { 0 };
	struct oc_fail fail = { 0 };

	if (settings_load(fresh, argc - 1, argv + 1, (const char *const *)environ, NULL, &fail) != OC_OK) {
		log_error("settings: %s; those from before stay", fail.text);
		return;
	}
	settings_take_reloadable(settings, fresh, &restart);
	if (restart.len)
		log_warn("settings that need a restart: %s", text_str(&restart));
	text_done(&restart);
	log_set_level(log_level_parse(setting_text(settings, SET_LOG_LEVEL)));
}

int main(int argc, char **argv)
{
	AUTO(settings) struct settings *settings = settings_new();
	struct service *service = NULL;
	struct oc_fail fail = { 0 };
	struct text odd = { 0 };
	sigset_t wanted;
	int fd;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return usage();
		if (strcmp(argv[i], "--version") == 0)
			return puts("opscased " OPSCASE_VERSION) < 0;
	}
	if (settings_load(settings, argc - 1, argv + 1, (const char *const *)environ, &odd, &fail) != OC_OK) {
		fprintf(stderr, "opscased: %s\n", fail.text);
		return oc_err_exit(fail.err);
	}
	if (odd.len)
		log_warn("not a setting, left alone: %s", text_str(&odd));
	text_done(&odd);
	log_set_level(log_level_parse(setting_text(settings, SET_LOG_LEVEL)));

	/* Before any thread is made: they inherit the mask, and only the loop below hears the signals. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &wanted, SFD_CLOEXEC);
	if (fd < 0)
		return 70;
	if (service_start(settings, &service, &fail) != OC_OK) {
		fprintf(stderr, "opscased: %s\n", fail.text);
		return oc_err_exit(fail.err);
	}
	if (service_port(service))
		log_info("ready on port %u", service_port(service));
	else
		log_info("ready");
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct signalfd_siginfo si;

		if (poll(&p, 1, TIDY_MS) == 0) {
			service_tidy(service);
			continue;
		}
		if (read(fd, &si, sizeof(si)) != sizeof(si) || si.ssi_signo != SIGHUP)
			break;
		settings_again(settings, argc, argv);
		service_reload(service);
	}
	log_info("stopping");
	service_stop(service);
	close(fd);
	return 0;
}
