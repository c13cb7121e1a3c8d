/* Models and versions; see model_registry.h. */
#include "api/models/model_registry.h"

#include "api/store/store_models.h"
#include "engine/core/clock.h"
#include "engine/core/digest.h"
#include "engine/core/safetensors.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_METADATA_BYTES (16u << 20) /* of one member kept in a row */

/* A file as it was when its digest was right. */
typedef struct {
    char name[API_MODEL_NAME_SIZE];
    int64_t version, n_bytes;
    struct timespec changed;
    ino_t inode;
} verified;

enum { MAX_VERIFIED = 256 };

struct api_model_registry {
    api_store *store;
    char folder[AFFECT_PATH_MAX]; /* DATA/models */
    char data_dir[AFFECT_PATH_MAX];
    pthread_mutex_t lock;         /* guards: */
    verified known[MAX_VERIFIED]; /* a ring */
    size_t n_known;               /* ever written */
    affect_json *damaged;         /* array of "name:version" */
};

affect_status api_model_registry_create(api_model_registry **registry, api_store *store,
                                        const char *data_dir, affect_error *err) {
    api_model_registry *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for models");
    made->store = store;
    snprintf(made->data_dir, sizeof made->data_dir, "%s", data_dir);
    made->damaged = affect_json_new_array();
    pthread_mutex_init(&made->lock, NULL);
    affect_status status = affect_path_join(made->folder, err, data_dir, "models");
    if (status == AFFECT_STATUS_OK) status = affect_directory_make(made->folder, err);
    if (status == AFFECT_STATUS_OK)
        *registry = made;
    else
        api_model_registry_free(made);
    return status;
}

void api_model_registry_free(api_model_registry *registry) {
    if (!registry) return;
    affect_json_free(registry->damaged);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

affect_status api_name_check(const char *name, const char *pointer, affect_error *err) {
    size_t n = strlen(name);
    bool good = n >= 1 && n <= 64 && isalnum((unsigned char)name[0]);
    for (size_t i = 0; i < n && good; i++)
        good = (isalnum((unsigned char)name[i]) && (unsigned char)name[i] < 128) ||
               strchr("._-", name[i]);
    if (good) return AFFECT_STATUS_OK;
    affect_fail(err, INVALID,
                "\"%.80s\" is no name (need 1 to 64 of letters, digits, '.', '_', '-', the first a "
                "letter or digit)",
                name);
    return affect_error_at(err, AFFECT_STATUS_INVALID, pointer);
}

void api_model_key(char key[API_MODEL_KEY_SIZE], const char *name, int64_t version) {
    snprintf(key, API_MODEL_KEY_SIZE, "models/%s/%lld.safetensors", name, (long long)version);
}

static affect_status version_path(char path[AFFECT_PATH_MAX], const api_model_registry *registry,
                                  const char *name, int64_t version, affect_error *err) {
    char key[API_MODEL_KEY_SIZE];
    api_model_key(key, name, version);
    return affect_path_join(path, err, registry->data_dir, "%s", key);
}

/* ---- Finding ---- */

typedef struct {
    api_model_version *version; /* version->version 0: the newest */
    bool found;
} resolution;

static affect_status resolve(api_db *db, void *context, affect_error *err) {
    resolution *r = context;
    api_model_version *v = r->version;
    return api_store_version_find(&r->found, &v->version, v->digest, &v->n_bytes, db, v->name, err);
}

affect_status api_model_resolve(api_model_registry *registry, const char *reference,
                                api_model_version *version, affect_error *err) {
    memset(version, 0, sizeof *version);
    const char *colon = strchr(reference, ':');
    size_t n = colon ? (size_t)(colon - reference) : strlen(reference);
    if (n >= sizeof version->name) n = sizeof version->name - 1;
    memcpy(version->name, reference, n);
    AFFECT_TRY(api_name_check(version->name, "/model", err));
    if (colon) {
        char *end = NULL;
        errno = 0;
        version->version = strtoll(colon + 1, &end, 10);
        if (end == colon + 1 || *end || errno || version->version < 1 || !isdigit(colon[1])) {
            affect_fail(err, INVALID, "\"%.80s\" is no model (need NAME or NAME:VERSION)",
                        reference);
            return affect_error_at(err, AFFECT_STATUS_INVALID, "/model");
        }
    }
    resolution r = {.version = version};
    AFFECT_TRY(api_store_read(registry->store, resolve, &r, err));
    if (!r.found) return affect_fail(err, NOT_FOUND, "no model \"%.80s\"", reference);
    return version_path(version->path, registry, version->name, version->version, err);
}

/* ---- Verifying ---- */

static bool is_same(const verified *v, const api_model_version *version, const struct stat *info) {
    return v->version == version->version && strcmp(v->name, version->name) == 0 &&
           v->n_bytes == (int64_t)info->st_size && v->inode == info->st_ino &&
           v->changed.tv_sec == info->st_mtim.tv_sec && v->changed.tv_nsec == info->st_mtim.tv_nsec;
}

static bool is_known(api_model_registry *registry, const api_model_version *version,
                     const struct stat *info) {
    bool known = false;
    pthread_mutex_lock(&registry->lock);
    for (size_t i = 0; i < MAX_VERIFIED && i < registry->n_known && !known; i++)
        known = is_same(&registry->known[i], version, info);
    pthread_mutex_unlock(&registry->lock);
    return known;
}

static void note_damage(api_model_registry *registry, const api_model_version *version) {
    char text[API_MODEL_NAME_SIZE + 24];
    snprintf(text, sizeof text, "%s:%lld", version->name, (long long)version->version);
    const affect_json *e = affect_json_first(registry->damaged);
    while (e && strcmp(affect_json_string(e, ""), text) != 0) e = affect_json_next(e);
    if (!e) affect_json_append(registry->damaged, affect_json_new_string(text));
}

static void note(api_model_registry *registry, const api_model_version *version,
                 const struct stat *info, bool good) {
    pthread_mutex_lock(&registry->lock);
    if (good) {
        verified *to = &registry->known[registry->n_known++ % MAX_VERIFIED];
        *to = (verified){.version = version->version,
                         .n_bytes = (int64_t)info->st_size,
                         .changed = info->st_mtim,
                         .inode = info->st_ino};
        snprintf(to->name, sizeof to->name, "%s", version->name);
    } else {
        note_damage(registry, version);
    }
    pthread_mutex_unlock(&registry->lock);
}

static affect_status verify(api_model_registry *registry, const api_model_version *version,
                            bool by_digest, affect_error *err) {
    struct stat info = {0};
    char digest[AFFECT_DIGEST_TEXT_SIZE] = "";
    affect_error why = {0};
    bool there = lstat(version->path, &info) == 0 && S_ISREG(info.st_mode);
    if (there && !by_digest && is_known(registry, version, &info)) return AFFECT_STATUS_OK;
    bool good = there && (int64_t)info.st_size == version->n_bytes &&
                affect_digest_file(digest, version->path, &why) == AFFECT_STATUS_OK &&
                strcmp(digest, version->digest) == 0;
    note(registry, version, &info, good);
    return good ? AFFECT_STATUS_OK
                : affect_fail(err, ARTIFACT_CORRUPT,
                              "the file of model %s, version %lld, is not the one that was stored",
                              version->name, (long long)version->version);
}

affect_status api_model_verify(api_model_registry *registry, const api_model_version *version,
                               affect_error *err) {
    return verify(registry, version, false, err);
}

affect_json *api_model_damaged(api_model_registry *registry) {
    pthread_mutex_lock(&registry->lock);
    affect_json *copy = affect_json_copy(registry->damaged);
    pthread_mutex_unlock(&registry->lock);
    return copy;
}

static affect_status list_versions(api_db *db, void *context, affect_error *err) {
    return api_store_versions_list(context, db, err);
}

affect_status api_model_verify_all(api_model_registry *registry, affect_json **json,
                                   affect_error *err) {
    affect_json *names = affect_json_new_array();
    affect_status status = api_store_read(registry->store, list_versions, names, err);
    affect_json *found = affect_json_new_object();
    affect_json_set_number(found, "checked", (double)affect_json_size(names));
    affect_json *damaged = affect_json_set_array(found, "damaged");
    for (const affect_json *e = affect_json_first(names); e && status == AFFECT_STATUS_OK;
         e = affect_json_next(e)) {
        api_model_version version;
        if (api_model_resolve(registry, affect_json_string(e, ""), &version, NULL) ==
                AFFECT_STATUS_OK &&
            verify(registry, &version, true, NULL) != AFFECT_STATUS_OK)
            affect_json_append(damaged, affect_json_copy(e));
    }
    affect_json_free(names);
    if (status != AFFECT_STATUS_OK) affect_json_free(found);
    *json = status == AFFECT_STATUS_OK ? found : NULL;
    return status;
}

/* ---- Adding ---- */

affect_status api_model_describe(affect_json **metadata, const char *file, affect_error *err) {
    static const char *const names[] = {"architecture",
                                        "sizes",
                                        "feature_config",
                                        "labels",
                                        "label_map",
                                        "dataset",
                                        "split",
                                        "metrics",
                                        "training",
                                        "selection",
                                        "code_version",
                                        "temperature",
                                        NULL};
    affect_safetensors *tensors = NULL;
    AFFECT_TRY(affect_safetensors_open(&tensors, file, err));
    affect_json *json = affect_json_new_object();
    affect_status status = AFFECT_STATUS_OK;
    for (int i = 0; names[i]; i++) {
        const char *text = affect_safetensors_metadata(tensors, names[i]);
        affect_json *value = NULL;
        if (!text) continue;
        if (strlen(text) > MAX_METADATA_BYTES) {
            status = affect_fail(err, TOO_LARGE, "metadata \"%s\" has %zu bytes (at most %u)",
                                 names[i], strlen(text), MAX_METADATA_BYTES);
            break;
        }
        if (affect_safetensors_metadata_json(&value, tensors, names[i], NULL) != AFFECT_STATUS_OK)
            value = affect_json_new_string(text);
        affect_json_set(json, names[i], value);
    }
    affect_json_set_number(json, "tensors", (double)affect_safetensors_count(tensors));
    affect_safetensors_close(tensors);
    if (status == AFFECT_STATUS_OK)
        *metadata = json;
    else
        affect_json_free(json);
    return status;
}

/* Gives the file a second name: the place of a version, durably. CONFLICT when another file lies
 * there, which may be a model whose row was lost: it is never overwritten. */
static affect_status link_file(const char *file, const char *path, const char *folder,
                               affect_error *err) {
    struct stat own, there;
    AFFECT_TRY(affect_directory_make(folder, err));
    if (link(file, path) != 0) {
        if (errno != EEXIST) return affect_error_errno(err, errno, "%s", path);
        bool same = stat(file, &own) == 0 && stat(path, &there) == 0 &&
                    own.st_ino == there.st_ino && own.st_dev == there.st_dev;
        if (!same) return affect_fail(err, CONFLICT, "%s: another file lies there", path);
    }
    chmod(path, 0444);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return affect_error_errno(err, errno, "%s", folder);
    int e = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return e ? affect_error_errno(err, e, "%s", folder) : AFFECT_STATUS_OK;
}

affect_status api_model_insert(api_db *db, const char *name, int64_t version, const char *job_id,
                               int64_t created_ms, const char *path, const char *digest,
                               const affect_json *metadata, affect_error *err) {
    struct stat info;
    if (stat(path, &info) != 0) return affect_error_errno(err, errno, "%s", path);
    char *text = affect_json_text(metadata);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for a model's metadata");
    affect_status status =
        api_store_version_insert(db,
                                 &(api_version_record){.name = name,
                                                       .version = version,
                                                       .job_id = job_id,
                                                       .created_ms = created_ms,
                                                       .digest = digest,
                                                       .n_bytes = (int64_t)info.st_size,
                                                       .metadata = text},
                                 err);
    free(text);
    return status;
}

affect_status api_model_add(api_model_registry *registry, api_db *db, const char *name,
                            const char *job_id, const char *file, const char *digest,
                            const affect_json *metadata, int64_t *version, affect_error *err) {
    char path[AFFECT_PATH_MAX], folder[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(folder, err, registry->folder, "%s", name));
    affect_status status;
    do {
        AFFECT_TRY(api_store_version_next(version, db, name, err));
        AFFECT_TRY(version_path(path, registry, name, *version, err));
        status = link_file(file, path, folder, err);
    } while (status == AFFECT_STATUS_CONFLICT);
    if (status != AFFECT_STATUS_OK) return status;
    return api_model_insert(db, name, *version, job_id, affect_clock_unix_ms(), path, digest,
                            metadata, err);
}

/* ---- Deleting ---- */

typedef struct {
    const char *name;
    int64_t version; /* 0: all */
    int64_t *versions;
    size_t n;
} removal;

static affect_status work_delete(api_db *db, void *context, affect_error *err) {
    removal *r = context;
    return api_store_version_delete(&r->versions, &r->n, db, r->name, r->version, err);
}

affect_status api_model_delete(api_model_registry *registry, const char *name, int64_t version,
                               affect_error *err) {
    removal r = {.name = name, .version = version};
    char path[AFFECT_PATH_MAX];
    affect_status status = api_store_write(registry->store, work_delete, NULL, &r, err);
    for (size_t i = 0; status == AFFECT_STATUS_OK && i < r.n; i++)
        if (version_path(path, registry, name, r.versions[i], NULL) == AFFECT_STATUS_OK)
            unlink(path);
    free(r.versions);
    return status;
}

/* ---- Bodies ---- */

static void set_links(affect_json *version) {
    char link[200];
    const char *name = affect_json_get_string(version, "name", "");
    long long number = (long long)affect_json_get_number(version, "version", 0);
    affect_json *links = affect_json_set_object(version, "links");
    snprintf(link, sizeof link, "/v1/models/%s/versions/%lld", name, number);
    affect_json_set_string(links, "self", link);
    snprintf(link, sizeof link, "/v1/models/%s/versions/%lld/artifact", name, number);
    affect_json_set_string(links, "artifact", link);
}

typedef struct {
    const char *name, *after;
    int64_t version, limit;
    affect_json *json;
} model_query;

static affect_status list(api_db *db, void *context, affect_error *err) {
    model_query *q = context;
    return api_store_model_list(&q->json, db, q->after, q->limit, err);
}

static affect_status get(api_db *db, void *context, affect_error *err) {
    model_query *q = context;
    return api_store_model_get(&q->json, db, q->name, err);
}

static affect_status get_version(api_db *db, void *context, affect_error *err) {
    model_query *q = context;
    return api_store_version_get(&q->json, db, q->name, q->version, err);
}

affect_status api_model_list(api_model_registry *registry, affect_json **json, int64_t limit,
                             const char *after, affect_error *err) {
    model_query q = {.after = after, .limit = limit};
    affect_status status = api_store_read(registry->store, list, &q, err);
    for (const affect_json *model = affect_json_first(affect_json_get(q.json, "data")); model;
         model = affect_json_next(model))
        set_links(affect_json_get(model, "newest"));
    *json = q.json;
    return status;
}

affect_status api_model_get(api_model_registry *registry, affect_json **json, const char *name,
                            affect_error *err) {
    model_query q = {.name = name};
    affect_status status = api_store_read(registry->store, get, &q, err);
    for (affect_json *version = affect_json_first(affect_json_get(q.json, "versions")); version;
         version = affect_json_next(version))
        set_links(version);
    *json = q.json;
    return status;
}

affect_status api_model_version_get(api_model_registry *registry, affect_json **json,
                                    const char *name, int64_t version, affect_error *err) {
    model_query q = {.name = name, .version = version};
    affect_status status = api_store_read(registry->store, get_version, &q, err);
    if (status == AFFECT_STATUS_OK) set_links(q.json);
    *json = q.json;
    return status;
}
