/* What a job made, as a version of a model: shared by the types whose jobs make models.
 *
 * The file is described and its digest computed before the transaction that ends the job, which
 * only adds the row and links the file. */
#include "api/jobs/job_type.h"
#include "api/models/model_registry.h"

affect_status api_job_product_read_model(api_job_product *product, const char *folder,
                                         const char *name, affect_error *err) {
    if (!product->model[0]) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(product->file, err, folder, "%s", name));
    AFFECT_TRY(api_model_describe(&product->facts, product->file, err));
    return affect_digest_file(product->digest, product->file, err);
}

affect_status api_job_product_add_model(api_job_product *product, api_db *db, affect_error *err) {
    int64_t version = 0;
    if (!product->model[0]) return AFFECT_STATUS_OK;
    AFFECT_TRY(api_model_add(product->models, db, product->model, product->job_id, product->file,
                             product->digest, product->facts, &version, err));
    affect_json_set_string(product->result, "model", product->model);
    affect_json_set_number(product->result, "version", (double)version);
    return AFFECT_STATUS_OK;
}
