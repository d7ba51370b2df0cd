/* case_door.h - the one door, for the analyst, which does not know the orchestrator. */
#pragma once
#include "analyst/opener.h"

extern const struct opener_door case_door;
