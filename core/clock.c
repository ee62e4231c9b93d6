#include "core/clock.h"

#include <time.h>

double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double clock_epoch_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void clock_stamp(StrBuf *out)
{
    struct timespec t;
    struct tm local;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &t);
    localtime_r(&t.tv_sec, &local);
    strftime(text, sizeof text, "%Y-%m-%dT%H-%M-%S", &local);
    strbuf_addf(out, "%s.%06ld", text, t.tv_nsec / 1000);
}
