#include <systemd/sd-daemon.h>
// Source locations (CODE_FILE etc.) are of no use to readers of the journal.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
