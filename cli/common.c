#include "cli/common.h"

Status common_open(Device **dev, DType *dtype, const CommonOptions *common)
{
    /* As dtype_choices. On the CPU the narrow types save memory, not time, so "auto" computes in full there. */
    static const DType chosen[] = {LT_F32, LT_F32, LT_BF16, LT_F16};

    TRY(device_open(dev, common->device, (int)common->threads));
    *dtype = chosen[common->dtype];
    return LT_OK;
}
