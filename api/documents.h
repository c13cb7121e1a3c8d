/* Documents: small answers to GET that follow from the store alone, kept as they were printed.
 *
 * A handler that answers with api_answer_document lets later requests of the same path have the
 * same bytes, on the HTTP thread, without a handler and without a read. A document holds as long as
 * the store's version (store.h) is that of the time before it was made: any commit ends all of
 * them. Requests with a query or with conditions always go to their handler. */
#ifndef AFFECT_API_DOCUMENTS_H
#define AFFECT_API_DOCUMENTS_H

#include "api/api.h"

typedef struct api_documents api_documents;

affect_status api_documents_create(api_documents **documents, affect_error *err);
void api_documents_free(api_documents *documents); /* NULL allowed */

/* Before a request goes to its handler: answers it when its document is there. False: it goes to
 * its handler, which has the right to the request. */
bool api_documents_answer(api_request *request);

#endif
