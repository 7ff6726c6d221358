#include <systemd/sd-bus.h>

// SD_BUS_ERROR_NULL is a compound literal.
static inline sd_bus_error csdbus_no_error(void) { return SD_BUS_ERROR_NULL; }
