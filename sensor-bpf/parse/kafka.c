/* kafka.c - Kafka's protocol: sizes in front, an API and a correlation id in requests, the id again in answers. */
#include "sensor-bpf/parse/parser.h"

#define API_MAX     75
#define VERSION_MAX 20
#define SIZE_LIMIT  (100 << 20)

enum api { API_PRODUCE = 0, API_FETCH = 1, API_VERSIONS = 18 };

static const char *const names[API_MAX + 1] = {
	[0] = "Produce",           [1] = "Fetch",
	[2] = "ListOffsets",       [3] = "Metadata",
	[8] = "OffsetCommit",      [9] = "OffsetFetch",
	[10] = "FindCoordinator",  [11] = "JoinGroup",
	[12] = "Heartbeat",        [13] = "LeaveGroup",
	[14] = "SyncGroup",        [15] = "DescribeGroups",
	[16] = "ListGroups",       [17] = "SaslHandshake",
	[18] = "ApiVersions",      [19] = "CreateTopics",
	[20] = "DeleteTopics",     [21] = "DeleteRecords",
	[22] = "InitProducerId",   [23] = "OffsetForLeaderEpoch",
	[24] = "AddPartitions",    [25] = "AddOffsets",
	[26] = "EndTxn",           [28] = "TxnOffsetCommit",
	[32] = "DescribeConfigs",  [36] = "SaslAuthenticate",
	[37] = "CreatePartitions",
};

/* Size, API, version, correlation id, client id that is printable text or absent. */
static bool is_request(const uint8_t *p, size_t kept, size_t size)
{
	uint32_t len, client;

	if (kept < 14)
		return false;
	len = be32(p);
	if (len < 10 || len > SIZE_LIMIT || (uint64_t)len + 4 < size || be16(p + 4) > API_MAX ||
	    be16(p + 6) > VERSION_MAX || be32(p + 8) > INT32_MAX)
		return false;
	client = be16(p + 12);
	if (client == 0xffff)
		return true;
	if (client > 255 || client + 10u > len || client == 0)
		return false;
	for (size_t i = 14; i < 14 + client && i < kept; i++)
		if (p[i] < 0x20 || p[i] >= 0x7f)
			return false;
	return true;
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	(void)f;
	return is_request(p, kept, size) && be32(p) + 4 == size && names[be16(p + 4)] ? SNIFF_ASKS : SNIFF_NO;
}

/* The first topic that a Produce (3 to 8) or Fetch (4 to 11) names. */
static void topic_read(struct asked *a, unsigned api, unsigned version, const uint8_t *p, size_t n)
{
	size_t at;
	uint32_t len;

	if (api == API_PRODUCE && version >= 3 && version <= 8) {
		if (n < 2)
			return;
		at = 2 + (be16(p) == 0xffff ? 0 : be16(p)) + 6; /* transaction, acks, timeout */
	} else if (api == API_FETCH && version >= 4 && version <= 11) {
		at = 17 + (version >= 7 ? 8 : 0);
	} else {
		return;
	}
	if (at + 6 > n || be32(p + at) == 0 || be32(p + at) > 100000)
		return;
	len = be16(p + at + 4);
	if (len > 249 || at + 6 + len > n)
		return;
	for (size_t i = 0; i < len; i++)
		if (!isalnum(p[at + 6 + i]) && !strchr("._-", p[at + 6 + i]))
			return;
	snprintf(a->route, sizeof(a->route), "%.*s", (int)len, (const char *)p + at + 6);
}

/* acks of 0: the broker answers nothing */
static bool unanswered(unsigned api, unsigned version, const uint8_t *p, size_t n)
{
	size_t at;

	if (api != API_PRODUCE || version < 3 || version > 8 || n < 4)
		return false;
	at = 2 + (be16(p) == 0xffff ? 0 : be16(p));
	return at + 2 <= n && be16(p + at) == 0;
}

static void requests(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, true, size);

	if (i == SIZE_MAX)
		return;
	while (i + 14 <= kept && is_request(p + i, kept - (size_t)i, 0)) {
		uint64_t len = (uint64_t)be32(p + i) + 4;
		unsigned api = be16(p + i + 4), version = be16(p + i + 6), client = be16(p + i + 12);
		uint64_t body = i + 14 + (client == 0xffff ? 0 : client),
			 stop = i + len < kept ? i + len : kept;
		struct asked *a;

		a = asked_new(f, be32(p + i + 8), at, (size_t)len, names[api] ? names[api] : "other");
		if (body < stop) {
			topic_read(a, api, version, p + body, (size_t)(stop - body));
			if (unanswered(api, version, p + body, (size_t)(stop - body))) {
				told_at_once(f, at, (size_t)len, a->method, a->route, "ok", false);
				asked_forget(f, a);
			}
		}
		i += len;
	}
	walk_end(f, true, i, size);
}

/* The error of ApiVersions stands first; those of Produce (3 to 8) behind the topic's name. Others are told as ok: an
 * answer came. */
static uint32_t error_read(const struct asked *a, const uint8_t *p, size_t n)
{
	if (str_eq(a->method, "ApiVersions") && n >= 2)
		return be16(p);
	if (str_eq(a->method, "Produce") && a->route[0] && n >= 6) {
		size_t name = be16(p + 4), at = 6 + name + 4 + 4;

		if (be32(p) == 1 && at + 2 <= n && strlen(a->route) == name &&
		    memcmp(p + 6, a->route, name) == 0)
			return be16(p + at);
	}
	return 0;
}

static void answers(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, false, size);

	if (i == SIZE_MAX)
		return;
	if (size == 4 && kept == 4) /* a reader that takes the size first: the rest comes by itself */
		return;
	while (i + 8 <= kept) {
		uint64_t len = (uint64_t)be32(p + i) + 4, stop;
		struct asked *a = asked_find(f, be32(p + i + 4));
		size_t head = 8;
		uint32_t error;
		char status[16] = "ok";

		if (!a && i == 0 && (a = asked_find(f, be32(p)))) { /* its size was read before */
			head = 4;
			len = size;
		}
		if (!a || len < 8 || len > SIZE_LIMIT)
			break;
		stop = i + len < kept ? i + len : kept;
		error = error_read(a, p + i + head, (size_t)(stop > i + head ? stop - i - head : 0));
		if (error)
			snprintf(status, sizeof(status), "%d", (int16_t)error);
		a->answered_bytes = len;
		asked_tell(f, a, at, status, error != 0);
		i += len;
	}
	walk_end(f, false, i, size);
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	if (asks)
		requests(f, at, p, kept, size);
	else
		answers(f, at, p, kept, size);
}

const struct parser parser_kafka = { .proto = PROTO_KAFKA, .sniff = sniff, .feed = feed };
