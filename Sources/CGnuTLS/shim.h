#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

// gnutls_free is a mutable variable that holds a function; Swift 6 does not allow access to it.
static inline void cgnutls_free(void *memory) { gnutls_free(memory); }
