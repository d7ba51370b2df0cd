/* fault.h - named places where the crash suite lets a process die, or stops it.
 *
 * A build has them only with -DOPSCASE_FAULTS (tests/crash makes such an opscased of its own); everywhere else a
 * point is nothing at all. With the environment variable OPSCASE_FAULT=NAME:N the process kills itself by SIGKILL when
 * it passes that point for the Nth time: no cleanup, as at a power cut. A point stands between two things that
 * must not depend on each other. */
#pragma once

#ifdef OPSCASE_FAULTS
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif
