#include "detail/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/uuid.h"
#include "detail/segment.h"
#include "detail/store_impl.h"

#define DEPTH_MAX 10

struct detail_store {
	char *dir, *bucket; /* bucket: NULL without S3 */
	long long quota;
	_Atomic long long used;
	struct detail_s3 *s3;
	struct sink *const *sinks;
};

static bool key_ok(const char *key)
{
	size_t n = strlen(key), part = 0, depth = 0;

	if (n == 0 || n > DETAIL_KEY_MAX)
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && key[i] != '/') {
			unsigned char c = (unsigned char)key[i];

			if (c <= ' ' || c == 127 || c == '\\')
				return false;
			continue;
		}
		if (i == part || key[part] == '.' || ++depth > DEPTH_MAX)
			return false;
		part = i + 1;
	}
	return true;
}

static enum oc_err disk_error(struct oc_fail *reterr, const char *path)
{
	if (errno == ENOSPC || errno == EDQUOT)
		return oc_fail(reterr, OC_TOO_LARGE, "detail store: no space left for %s", path);
	return oc_fail(reterr, errno == ENOENT ? OC_NOT_FOUND : OC_UNAVAILABLE, "detail store: %s: %s", path,
		       strerror(errno));
}

/* --- the folder */

static bool add_bytes(void *ctx, const struct detail_object *o)
{
	*(long long *)ctx += o->bytes;
	return true;
}

static enum oc_err each_in(const char *dir, const char *below, unsigned depth,
			   bool (*fn)(void *ctx, const struct detail_object *o), void *ctx, bool *go_on,
			   struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/%s", dir, below);
	DIR *d = opendir(path);
	struct dirent *e;
	enum oc_err err = OC_OK;

	if (!d)
		return errno == ENOENT ? OC_OK : disk_error(reterr, path);
	while (err == OC_OK && *go_on && (e = readdir(d))) {
		AUTO(str) char *key = *below ? mem_printf("%s/%s", below, e->d_name) : mem_strdup(e->d_name);
		struct stat st;

		if (e->d_name[0] == '.' && (!e->d_name[1] || str_eq(e->d_name, "..")))
			continue;
		/* gone meanwhile is fine; a link is not ours */
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			err = each_in(dir, key, depth + 1, fn, ctx, go_on, reterr);
		else if (S_ISREG(st.st_mode))
			*go_on = fn(ctx, &(struct detail_object){ .bucket_ref = "local",
								  .key_ref = key,
								  .bytes = st.st_size,
								  .written_us = (int64_t)st.st_mtim.tv_sec *
											1000000 +
										st.st_mtim.tv_nsec / 1000 });
	}
	closedir(d);
	return err;
}

static enum oc_err make_folders(char *path, size_t from, struct oc_fail *reterr)
{
	for (char *p = path + from; *p; p++) {
		int rc;

		if (*p != '/')
			continue;
		*p = '\0';
		rc = mkdir(path, 0750);
		if (rc != 0 && errno != EEXIST) {
			enum oc_err err = disk_error(reterr, path);

			return err == OC_NOT_FOUND ? OC_UNAVAILABLE : err;
		}
		*p = '/';
	}
	return OC_OK;
}

static bool write_all(int fd, const char *p, size_t left)
{
	while (left) {
		ssize_t n = write(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		left -= (size_t)n;
	}
	return true;
}

/* The name must be on the disk, too: without it a crash of the machine may forget a file whose row is committed. */
static bool sync_folder(const char *path)
{
	AUTO(str) char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0;
}

static enum oc_err local_put(struct detail_store *s, const char *key, const void *bytes, size_t len,
			     struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/%s", s->dir, key);
	AUTO(str) char *temp = NULL;
	AUTO(fd) int fd = -1;
	char unique[UUID_TEXT];
	struct stat was;
	long long more = (long long)len;
	enum oc_err err;

	if (s->quota && atomic_load(&s->used) + more > s->quota)
		return oc_fail(reterr, OC_TOO_LARGE,
			       "detail store: its quota of %lld bytes is used up (detail.quota_mib)",
			       s->quota);
	err = make_folders(path, strlen(s->dir) + 1, reterr);
	if (err != OC_OK)
		return err;
	uuid_new(unique);
	temp = mem_printf("%s.%s.part", path, unique);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0) {
		err = disk_error(reterr, temp);
		return err == OC_NOT_FOUND ? OC_UNAVAILABLE : err;
	}
	if (stat(path, &was) == 0)
		more -= was.st_size;
	if (!write_all(fd, bytes, len) || fsync(fd) != 0 || rename(temp, path) != 0 || !sync_folder(path)) {
		err = disk_error(reterr, path);
		unlink(temp);
		return err;
	}
	atomic_fetch_add(&s->used, more);
	return OC_OK;
}

static enum oc_err local_get(struct detail_store *s, const char *key, unsigned char **ret, size_t *ret_len,
			     struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/%s", s->dir, key);
	AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(bytes) unsigned char *bytes = NULL;
	struct stat st;
	size_t got = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		return disk_error(reterr, path);
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size > SEGMENT_BYTES_MAX)
		return oc_fail(reterr, OC_INVALID, "detail store: %s is no object of a size that is read",
			       key);
	bytes = mem_alloc((size_t)st.st_size + 1);
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s ends early", path);
		got += (size_t)n;
	}
	*ret_len = got;
	*ret = TAKE(bytes);
	return OC_OK;
}

static enum oc_err local_delete(struct detail_store *s, const char *key, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/%s", s->dir, key);
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? OC_OK : disk_error(reterr, path);
	if (unlink(path) != 0)
		return errno == ENOENT ? OC_OK : disk_error(reterr, path);
	atomic_fetch_sub(&s->used, (long long)st.st_size);
	/* folders of hours that are empty now go with the last object; one that is not empty stays */
	for (char *end = strrchr(path, '/'); end && (size_t)(end - path) > strlen(s->dir);
	     end = strrchr(path, '/')) {
		*end = '\0';
		if (rmdir(path) != 0)
			break;
	}
	return OC_OK;
}

/* --- the store */

enum oc_err detail_store_open(const struct detail_store_config *config, struct detail_store **ret,
			      struct oc_fail *reterr)
{
	AUTO(detail_store) struct detail_store *s = mem_alloc(sizeof(*s));
	long long used = 0;
	bool go_on = true;
	enum oc_err err;

	if (!config->dir && !config->s3_url)
		return oc_fail_field(reterr, OC_INVALID, "detail.dir",
				     "the detail store has neither a folder nor a bucket");
	s->dir = mem_strdup(config->dir);
	s->quota = config->quota_bytes;
	s->sinks = config->sinks;
	if (s->dir) {
		AUTO(str) char *whole = mem_printf("%s/", s->dir);

		err = make_folders(whole, 1, reterr);
		if (err != OC_OK)
			return err;
		err = each_in(s->dir, "", 0, add_bytes, &used, &go_on, reterr);
		if (err != OC_OK)
			return err;
		atomic_store(&s->used, used);
	}
	if (!str_empty(config->s3_url)) {
		err = s3_open(config, &s->s3, reterr);
		if (err != OC_OK)
			return err;
		s->bucket = mem_printf("s3:%s", config->s3_bucket);
	}
	*ret = TAKE(s);
	return OC_OK;
}

void detail_store_close(struct detail_store *s)
{
	if (!s)
		return;
	s3_close(s->s3);
	free(s->dir);
	free(s->bucket);
	free(s);
}

const char *detail_store_s3(const struct detail_store *s)
{
	return s->bucket;
}

struct sink *const *detail_store_sinks(const struct detail_store *s)
{
	return s->sinks && s->sinks[0] ? s->sinks : NULL;
}

long long detail_quota(const struct detail_store *s)
{
	return s->quota;
}

void detail_used_is(struct detail_store *s, long long bytes)
{
	atomic_store(&s->used, bytes);
}

long long detail_used(const struct detail_store *s)
{
	return atomic_load(&s->used);
}

static enum oc_err key_check(const char *key, struct oc_fail *reterr)
{
	return key_ok(key) ? OC_OK
			   : oc_fail_field(reterr, OC_BAD_REQUEST, "key",
					   "'%.100s' is no key of the detail store", key);
}

/* Which of the two a row speaks of. */
static enum oc_err place(struct detail_store *s, const char *bucket, bool *ret_s3, struct oc_fail *reterr)
{
	*ret_s3 = !str_eq(bucket, "local");
	if (*ret_s3 ? s->s3 && str_eq(bucket, s->bucket) : s->dir != NULL)
		return OC_OK;
	return oc_fail(reterr, OC_UNAVAILABLE,
		       "the detail store '%.100s' is not set up here (detail.dir, detail.s3_bucket)", bucket);
}

enum oc_err detail_put(struct detail_store *s, const char *key, const void *bytes, size_t len,
		       const char **ret_bucket, struct oc_fail *reterr)
{
	enum oc_err err = key_check(key, reterr);

	if (err != OC_OK)
		return err;
	if (s->s3) {
		*ret_bucket = s->bucket;
		err = s3_put(s->s3, key, bytes, len, reterr);
		if (err != OC_UNAVAILABLE || !s->dir)
			return err;
		metric_inc(M_DETAIL_SPILLED, NULL, NULL, NULL);
	}
	*ret_bucket = "local";
	return local_put(s, key, bytes, len, reterr);
}

enum oc_err detail_put_s3(struct detail_store *s, const char *key, const void *bytes, size_t len,
			  struct oc_fail *reterr)
{
	enum oc_err err = key_check(key, reterr);

	if (err != OC_OK)
		return err;
	return s->s3 ? s3_put(s->s3, key, bytes, len, reterr)
		     : oc_fail(reterr, OC_UNAVAILABLE, "the detail store has no bucket");
}

enum oc_err detail_get(struct detail_store *s, const char *bucket, const char *key, unsigned char **ret_bytes,
		       size_t *ret_len, struct oc_fail *reterr)
{
	enum oc_err err = key_check(key, reterr);
	bool s3;

	if (err == OC_OK)
		err = place(s, bucket, &s3, reterr);
	if (err != OC_OK)
		return err;
	return s3 ? s3_get(s->s3, key, ret_bytes, ret_len, reterr)
		  : local_get(s, key, ret_bytes, ret_len, reterr);
}

enum oc_err detail_delete(struct detail_store *s, const char *bucket, const char *key, struct oc_fail *reterr)
{
	enum oc_err err = key_check(key, reterr);
	bool s3;

	if (err == OC_OK)
		err = place(s, bucket, &s3, reterr);
	if (err != OC_OK)
		return err;
	return s3 ? s3_delete(s->s3, key, reterr) : local_delete(s, key, reterr);
}

enum oc_err detail_each(struct detail_store *s, bool (*fn)(void *ctx, const struct detail_object *o),
			void *ctx, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	bool go_on = true;

	if (s->dir)
		err = each_in(s->dir, "", 0, fn, ctx, &go_on, reterr);
	if (err == OC_OK && go_on && s->s3)
		err = s3_each(s->s3, s->bucket, fn, ctx, reterr);
	return err;
}
