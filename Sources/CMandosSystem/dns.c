#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <arpa/nameser.h>
#include <resolv.h>

int cmandos_find_services(const char *name, struct cmandos_service *found, int most, int *error) {
    unsigned char answer[NS_MAXMSG];
    int length = res_query(name, ns_c_in, ns_t_srv, answer, sizeof answer);
    if (length < 0) {
        *error = h_errno == TRY_AGAIN ? EAI_AGAIN : h_errno == NO_RECOVERY ? EAI_FAIL : EAI_NONAME;
        return -1;
    }
    *error = EAI_FAIL;
    ns_msg message;
    if (length > (int)sizeof answer || ns_initparse(answer, length, &message) < 0) return -1;
    int count = 0;
    for (int index = 0; index < ns_msg_count(message, ns_s_an) && count < most; index++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, index, &record) < 0) return -1;
        // Priority, weight and port, of two bytes each, precede the host; "." means that the service does not exist.
        if (ns_rr_type(record) != ns_t_srv || ns_rr_rdlen(record) < 7) continue;
        struct cmandos_service *service = &found[count];
        const unsigned char *data = ns_rr_rdata(record);
        service->port = (unsigned short)ns_get16(data + 4);
        if (dn_expand(answer, answer + length, data + 6, service->host, sizeof service->host) < 0) return -1;
        if (service->host[0] != '\0' && strcmp(service->host, ".") != 0 && service->port != 0) count++;
    }
    return count;
}
