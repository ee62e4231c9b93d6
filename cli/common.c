#include "cli/common.h"

#include "analysis/run.h"
#include "eval/engine/engine.h"

#include <signal.h>

Status common_open(Device **dev, DType *dtype, const CommonOptions *common)
{
    /* As dtype_choices. On the CPU the narrow types save memory, not time, so "auto" computes in full there. */
    static const DType chosen[] = {LT_F32, LT_F32, LT_BF16, LT_F16};

    TRY(device_open(dev, common->device, (int)common->threads));
    *dtype = chosen[common->dtype];
    return LT_OK;
}

static void stop_on_signal(int number)
{
    (void)number;
    engine_stop();
    spectra_stop();
}

Status common_catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop_on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        return FAIL(LT_E_FAIL, "cannot catch signals");
    /* Whoever reads our notes may leave (| head); hours of work must not end for it. Results that cannot be printed are reported by main. */
    action = (struct sigaction){.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGPIPE, &action, NULL) != 0)
        return FAIL(LT_E_FAIL, "cannot catch signals");
    return LT_OK;
}
