#include "core/launch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* How a launcher tells its processes who they are. */
typedef struct Launcher {
    const char *source, *rank, *world, *local_rank;
} Launcher;

/* Slurm: only inside a step (srun); a batch script alone has SLURM_PROCID 0 but no step size. */
static const Launcher launchers[] = {
    {"openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
    {"pmi", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"},
};

static Status read_count(const char *name, int min, int *out)
{
    const char *text = getenv(name);
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || value < min || value > INT_MAX)
        return FAIL(LT_E_USAGE, "environment variable %s: expected a number of at least %d, found '%s'", name, min, text);
    *out = (int)value;
    return LT_OK;
}

Status launch_from_environment(Launch *out)
{
    Launch found = {0, 1, 0, "alone"};

    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const Launcher *l = &launchers[i];

        if (getenv(l->rank) == NULL || getenv(l->world) == NULL)
            continue;
        TRY(read_count(l->rank, 0, &found.rank));
        TRY(read_count(l->world, 1, &found.world));
        if (found.rank >= found.world)
            return FAIL(LT_E_USAGE, "environment: %s=%d is not below %s=%d", l->rank, found.rank, l->world, found.world);
        found.local_rank = found.rank;
        if (getenv(l->local_rank) != NULL)
            TRY(read_count(l->local_rank, 0, &found.local_rank));
        found.source = l->source;
        break;
    }
    *out = found;
    return LT_OK;
}
