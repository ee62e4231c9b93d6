/* The one place that knows which Lethe this is: --version, run.json. */
#ifndef LETHE_CORE_VERSION_H
#define LETHE_CORE_VERSION_H

#define LETHE_VERSION "0.1.0"

#endif
