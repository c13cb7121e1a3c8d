/* The rows of the table of job types (job_type.h), in the order of the contract. */
#ifndef AFFECT_JOBS_JOB_TYPE_ROWS_H
#define AFFECT_JOBS_JOB_TYPE_ROWS_H

/*  X(name): api_job_type_NAME of job_type_NAME.c */
#define API_JOB_TYPE_ROWS(X)                                                                       \
    X(import)                                                                                      \
    X(train)                                                                                       \
    X(evaluate)                                                                                    \
    X(sweep)

#endif
