/* main for a fuzz target without libFuzzer: runs the target on each file of the folders and on each
 * file that is named. fuzz_NAME FILE_OR_FOLDER... */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>

static size_t n_inputs;

static int run_file(const char *path) {
    char *data = NULL;
    size_t size = 0;
    affect_error err = {0};
    if (affect_file_read(&data, &size, path, (size_t)64 << 20, &err) != AFFECT_STATUS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    uint8_t *input = malloc(size ? size : 1); /* of just that size: reads beyond it are seen */
    FUZZ_CHECK(input != NULL);
    memcpy(input, data, size);
    free(data);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    n_inputs++;
    return 0;
}

static int run(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) return run_file(path);
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char file[AFFECT_PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        failed |= affect_path_join(file, NULL, path, "%s", entry->d_name) != AFFECT_STATUS_OK ||
                  run_file(file);
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= run(argv[i]);
    fprintf(stderr, "%zu inputs\n", n_inputs);
    return failed || n_inputs == 0;
}
