/* Who works on what: any number of processes, on one machine or several, share the units of a job through files in a folder.
 *
 * A claim is a file made exclusively; it names its holder, who keeps it locked and touches it every half minute. It is stolen when its holder is gone:
 * on this machine as soon as the lock is free, from another one after ten minutes without a touch, by the clock of the file system.
 * Claims only save work. Two processes may come to hold a claim on one unit, so doing a unit twice must do no harm. */
#ifndef LETHE_CORE_CLAIMS_H
#define LETHE_CORE_CLAIMS_H

#include "core/strbuf.h"

typedef struct Claims {
    StrBuf folder;
    char host[256];
} Claims;

/* Makes the folder. */
Status claims_open(Claims *c, const char *folder);
/* A zeroed struct is allowed. */
void claims_close(Claims *c);

typedef struct Claim {
    int fd;
    char *path; /* NULL: none */
    double touched_s;
} Claim;

/* unit: a file name, such as a key in hex. *taken is false, and *out empty, if somebody else is at work on it. */
Status claim_take(Claim *out, const Claims *c, const char *unit, bool *taken);
/* Says that the holder is alive; does something every half minute only. */
void claim_touch(Claim *claim);
/* Done or given up: removes the file. A zeroed struct is allowed. */
void claim_drop(Claim *claim);

#endif
