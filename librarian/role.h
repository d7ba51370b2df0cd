/* role.h - the librarian: hears cmd.learn, drafts a knowledge entry from a verified case for a person to accept. */
#pragma once
#include "worker/worker.h"

struct role librarian_role(void);
