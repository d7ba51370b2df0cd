/* keeper.h - the process between the service and an adapter that may start processes.
 *
 * It loads no adapter. It forks the worker, holds the clock, and ends only when it has seen that
 * nothing of the worker's family is left, which it then tells the host on a line that the worker does
 * not have. If the host vanishes, the family dies at once. */
#pragma once

int keeper_main(int call_fd, int control_fd);
