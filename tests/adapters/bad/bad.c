/* bad - one shared object per reason to refuse an adapter; BAD_* says which. */
#include <opscase/adapter.h>

#define OP_(name, more)                                                                          \
	"{\"name\":\"" name "\",\"summary\":\"s\",\"risk\":0,\"reversible\":" BAD_REVERSIBLE "," \
	"\"repeatable\":true,\"dedup\":true,\"blast\":\"none\",\"network\":false,"               \
	"\"timeout_s\":{\"default\":1,\"max\":1}" more "}"
#define PARAMS ",\"params\":{\"type\":\"object\"}"
#define MANIFEST_(name, ops) \
	"{\"name\":\"" name "\",\"version\":\"1\",\"summary\":\"s\",\"operations\":[" ops "]}"

#ifndef BAD_REVERSIBLE
#define BAD_REVERSIBLE "false"
#endif
#ifndef BAD_NAME
#define BAD_NAME BAD_FILE
#endif
#ifndef BAD_MANIFEST
#define BAD_MANIFEST MANIFEST_(BAD_FILE, OP_(BAD_FILE, PARAMS))
#endif
#ifndef BAD_ABI
#define BAD_ABI OPSCASE_ABI
#endif
#ifndef BAD_SIZE
#define BAD_SIZE sizeof(struct opscase_adapter)
#endif
#ifndef BAD_RUN
#define BAD_RUN bad_run
#endif

int bad_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
int bad_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx, (void)act;
	return reply->send(reply, OPSCASE_DONE, "{}");
}

#ifdef BAD_CONSTRUCTOR
__attribute__((constructor)) static void at_load(void)
{
	BAD_CONSTRUCTOR;
}
#endif
#ifdef BAD_LINK
extern int nobody_defines_this(void);
int (*bad_link)(void) = nobody_defines_this;
#endif

#ifndef BAD_NO_SYMBOL
OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = BAD_ABI,
	.size = BAD_SIZE,
	.name = BAD_NAME,
	.version = "1",
	.manifest = BAD_MANIFEST,
	.run = BAD_RUN,
};
#endif
