#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

// gnutls_free is a mutable variable that holds a function, which Swift 6 cannot touch.
static inline void cgnutls_free(void *memory) { gnutls_free(memory); }
