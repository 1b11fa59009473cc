/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents: small helpers over jansson for what is read back from disk or from a socket.
 *
 * JSON strings are Unicode, file names are bytes. A name that is UTF-8 is the string member KEY.
 * One that is not is still shown under KEY, with every offending byte as \xNN, and exactly, in
 * lower-case hex, under KEY_hex; readers must prefer KEY_hex.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"
#include "common/util.h"

UMBRA_DEFINE_CLEANUP(json_t *, json, json_decref)
#define _cleanup_json_ _cleanup_(umbra_cleanup_json)

/* 0 or -ENOMEM. */
int umbra_doc_set_path(json_t *obj, const char *key, const char *bytes);

/* The caller frees *out. -ENOENT when missing, -EBADMSG when it is not a name. */
int umbra_doc_get_path(const json_t *obj, const char *key, char **out);

/* NULL when KEY is missing or not a string; borrowed from obj. */
const char *umbra_doc_string(const json_t *obj, const char *key);

/* fallback when KEY is missing or not an integer. */
int64_t umbra_doc_int(const json_t *obj, const char *key, int64_t fallback);

bool umbra_doc_bool(const json_t *obj, const char *key, bool fallback);

/* Sets KEY to the string, or to null when value is NULL. 0 or -ENOMEM. */
int umbra_doc_set_string(json_t *obj, const char *key, const char *value);

/* Parses len bytes into an object; depth and size limited. what names the document in errors. */
int umbra_doc_parse(const char *data, size_t len, const char *what, json_t **out,
		    struct umbra_error *err);
