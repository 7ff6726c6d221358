#include <systemd/sd-daemon.h>
// Where we are in our source says nothing to who reads the journal.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
