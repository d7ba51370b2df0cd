#include "executor/loader.h"
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "base/text.h"

static const struct {
	const char *key, *sentence;
} refusals[] = {
#define REFUSAL(id, key, sentence) [id] = { key, sentence },
#include "executor/refusal.def"
#undef REFUSAL
};

const char *loader_key(enum loader_refusal why)
{
	return (unsigned)why < ARRAY_LEN(refusals) ? refusals[why].key : "?";
}

enum loader_refusal loader_refuse(struct loader_fail *fail, enum loader_refusal why, const char *detail, ...)
{
	va_list args;
	int n;

	if (!fail)
		return why;
	fail->why = why;
	n = snprintf(fail->text, sizeof(fail->text), "%s", refusals[why].sentence);
	if (detail && n > 0 && (size_t)n + 4 < sizeof(fail->text)) {
		size_t end;

		memcpy(fail->text + n, " (", 3);
		va_start(args, detail);
		vsnprintf(fail->text + n + 2, sizeof(fail->text) - (size_t)n - 3, detail, args);
		va_end(args);
		end = strlen(fail->text);
		memcpy(fail->text + end, ")", 2);
	}
	return why;
}

static bool name_ok(const char *s)
{
	size_t n = strnlen(s, 33);

	return n >= 1 && n <= 32 && *s >= 'a' && *s <= 'z' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

enum loader_refusal loader_view(const void *symbol, size_t symbol_size, struct opscase_adapter *ret,
				struct loader_fail *reterr)
{
	const size_t least = offsetof(struct opscase_adapter, run) + sizeof(ret->run);
	uint32_t abi, size;

	/* Nothing else may be looked at before these two. */
	if (symbol_size && symbol_size < 2 * sizeof(uint32_t))
		return loader_refuse(reterr, LOADER_TOO_SMALL, "the symbol has %zu bytes", symbol_size);
	memcpy(&abi, (const char *)symbol + offsetof(struct opscase_adapter, abi), sizeof(abi));
	memcpy(&size, (const char *)symbol + offsetof(struct opscase_adapter, size), sizeof(size));
	if (abi >> 16 != OPSCASE_ABI_MAJOR)
		return loader_refuse(reterr, LOADER_OTHER_MAJOR, "it says %u.%u, this service speaks %u.%u",
				     abi >> 16, abi & 0xffff, OPSCASE_ABI_MAJOR, OPSCASE_ABI_MINOR);
	if ((abi & 0xffff) > OPSCASE_ABI_MINOR)
		return loader_refuse(reterr, LOADER_NEWER_MINOR, "it says %u.%u, this service speaks %u.%u",
				     abi >> 16, abi & 0xffff, OPSCASE_ABI_MAJOR, OPSCASE_ABI_MINOR);
	if (size < least)
		return loader_refuse(reterr, LOADER_TOO_SMALL, "it says %u bytes, at least %zu are needed",
				     size, least);
	if (symbol_size && size > symbol_size)
		return loader_refuse(reterr, LOADER_SIZE_LIES, "it says %u bytes, the symbol has %zu", size,
				     symbol_size);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, symbol, size < sizeof(*ret) ? size : sizeof(*ret));
	if (!ret->name)
		return loader_refuse(reterr, LOADER_NO_NAME, NULL);
	if (!name_ok(ret->name))
		return loader_refuse(reterr, LOADER_BAD_NAME, "'%.40s'", ret->name);
	if (!ret->version || !*ret->version || strnlen(ret->version, 65) > 64)
		return loader_refuse(reterr, LOADER_NO_VERSION, NULL);
	if (!ret->run)
		return loader_refuse(reterr, LOADER_NO_RUN, NULL);
	if (!ret->manifest)
		return loader_refuse(reterr, LOADER_NO_MANIFEST, NULL);
	return LOADER_TAKEN;
}

static enum loader_refusal look_at_file(const char *file, struct loader_fail *reterr)
{
	AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char head[EI_NIDENT + 2];
	struct stat st;
	uint16_t type;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? loader_refuse(reterr, LOADER_NOT_FOUND, "%s", file)
			       : loader_refuse(reterr, LOADER_NOT_A_FILE, "%s: %s", file, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return loader_refuse(reterr, LOADER_NOT_A_FILE, "%s", file);
	if (read(fd, head, sizeof(head)) != (ssize_t)sizeof(head) || memcmp(head, ELFMAG, SELFMAG) != 0)
		return loader_refuse(reterr, LOADER_NOT_SHARED, "%s", file);
	memcpy(&type, head + EI_NIDENT, sizeof(type));
	if (type != ET_DYN)
		return loader_refuse(reterr, LOADER_NOT_SHARED, "%s", file);
	return LOADER_TAKEN;
}

static size_t symbol_size(const void *symbol)
{
	const ElfW(Sym) *sym = NULL;
	Dl_info info;

	if (dladdr1(symbol, &info, (void **)&sym, RTLD_DL_SYMENT) && sym && info.dli_saddr == symbol)
		return (size_t)sym->st_size;
	return 0;
}

/* The service finds the file by the adapter's name, so the two must agree. */
static bool named_like(const char *file, const char *name)
{
	const char *base = strrchr(file, '/');
	size_t n = strlen(name);

	base = base ? base + 1 : file;
	return strncmp(base, name, n) == 0 && strcmp(base + n, ".so") == 0;
}

enum loader_refusal loader_load(const char *file, struct loaded *ret, struct loader_fail *reterr)
{
	enum loader_refusal why = look_at_file(file, reterr);
	const void *symbol;

	if (why != LOADER_TAKEN)
		return why;
	ret->dl = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!ret->dl)
		return loader_refuse(reterr, LOADER_DOES_NOT_LINK, "%s", dlerror());
	symbol = dlsym(ret->dl, "opscase_adapter");
	if (!symbol)
		return loader_refuse(reterr, LOADER_NO_SYMBOL, "%s", file);
	why = loader_view(symbol, symbol_size(symbol), &ret->view, reterr);
	if (why != LOADER_TAKEN)
		return why;
	if (!named_like(file, ret->view.name))
		return loader_refuse(reterr, LOADER_FILE_NAME, "'%s' in %s", ret->view.name, file);
	why = manifest_read(ret->view.manifest, &ret->manifest, reterr);
	if (why != LOADER_TAKEN)
		return why;
	if (!str_eq(ret->manifest.name, ret->view.name) || !str_eq(ret->manifest.version, ret->view.version))
		return loader_refuse(reterr, LOADER_MANIFEST_NAME,
				     "manifest '%s' version '%s', adapter '%s' version '%s'",
				     ret->manifest.name, ret->manifest.version, ret->view.name,
				     ret->view.version);
	for (size_t i = 0; i < ret->manifest.operations.count; i++) {
		const struct operation *op = &ret->manifest.operations.item[i];

		if (op->reversible && !ret->view.undo)
			return loader_refuse(reterr, LOADER_OP_NO_UNDO, "'%s'", op->name);
	}
	return LOADER_TAKEN;
}
