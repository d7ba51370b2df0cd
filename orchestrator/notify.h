/* notify.h - the notifier: hears cmd.notify, writes the sentence that people see, once per parking. */
#pragma once
#include "worker/worker.h"

struct role notify_role(void);
