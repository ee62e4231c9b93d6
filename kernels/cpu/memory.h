/* The memory this process can have.
 * Source: proc_meminfo(5); Linux, Documentation/admin-guide/cgroup-v2.rst, "Memory". */
#ifndef LETHE_KERNELS_CPU_MEMORY_H
#define LETHE_KERNELS_CPU_MEMORY_H

#include "core/status.h"

#include <stddef.h>

/* Bytes of the machine, less where a control group (cgroup v2) allows less. Free counts the page cache that the system would give up.
 * root: "", or the folder that holds another proc/ and sys/. */
Status memory_of_process(const char *root, size_t *free_bytes, size_t *total_bytes);

#endif
