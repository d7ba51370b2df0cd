#define LOG_ROOM "bus"
#include "wire/bus/stream.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/bus/inside.h"

#define STREAM           "TEL"
#define PUT_WAIT_MS      10000
#define HEADER_ROOM      1024
/* server errors: maximum bytes, messages, messages per subject exceeded; store failed */
#define ERR_STORE_FAILED 10077

struct stream_reader {
	struct bus *bus_ref;
	natsSubscription *sub;
	unsigned generation;
	uint64_t last;
	bool broken;
};

size_t stream_put_max(const struct bus *bus)
{
	int64_t max = natsConnection_GetMaxPayload(bus->nc);

	return max > 2 * HEADER_ROOM ? (size_t)max - HEADER_ROOM : 1048576 - HEADER_ROOM;
}

enum oc_err stream_put(struct bus *bus, const char *subject, const void *body, size_t len, const char *id,
		       long long tenant_id, bool *ret_again, struct oc_fail *reterr)
{
	char tenant[24];
	natsMsg *msg = NULL;
	jsPubAck *ack = NULL;
	jsPubOptions po;
	jsErrCode code = 0;
	natsStatus s;
	enum oc_err err;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected: nothing can be kept now");
	if (len > stream_put_max(bus))
		return oc_fail(reterr, OC_TOO_LARGE, "a message of %zu bytes, NATS takes %zu", len,
			       stream_put_max(bus));
	err = bus_streams_ensure(bus, reterr);
	if (err != OC_OK)
		return err;
	jsPubOptions_Init(&po);
	po.MsgId = id;
	po.MaxWait = PUT_WAIT_MS;
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	s = natsMsg_Create(&msg, subject, NULL, body, (int)len);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(msg, "Oc-Tenant", tenant);
	if (s == NATS_OK)
		s = js_PublishMsg(&ack, bus->js, msg, &po, &code);
	natsMsg_Destroy(msg);
	if (s == NATS_OK && ret_again)
		*ret_again = ack->Duplicate;
	jsPubAck_Destroy(ack);
	if (s == NATS_OK)
		return OC_OK;
	if (code == ERR_STORE_FAILED)
		return oc_fail(
			reterr, OC_BUSY,
			"the stream of telemetry is full: what was sent before is still being worked on");
	bus_doubt(bus); /* no stream, or nobody answers: look at what the server has before the next try */
	return oc_fail(reterr, OC_UNAVAILABLE, "NATS: %s: %s (%d)", subject, natsStatus_GetText(s),
		       (int)code);
}

enum oc_err stream_info(struct bus *bus, struct stream_info *ret, struct oc_fail *reterr)
{
	char name[64];
	jsStreamInfo *si = NULL;
	jsErrCode code = 0;
	natsStatus s;
	enum oc_err err;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected");
	err = bus_streams_ensure(bus, reterr);
	if (err != OC_OK)
		return err;
	s = js_GetStreamInfo(&si, bus->js, bus_stream_name(bus, STREAM, name, sizeof(name)), NULL, &code);
	if (s != NATS_OK) {
		bus_doubt(bus);
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS: stream %s: %s (%d)", name,
			       natsStatus_GetText(s), (int)code);
	}
	*ret = (struct stream_info){ .first = si->State.FirstSeq,
				     .last = si->State.LastSeq,
				     .messages = si->State.Msgs,
				     .bytes = si->State.Bytes };
	snprintf(ret->born, sizeof(ret->born), "%" PRId64, si->Created);
	jsStreamInfo_Destroy(si);
	return OC_OK;
}

enum oc_err stream_purge(struct bus *bus, const char *filter, uint64_t upto, struct oc_fail *reterr)
{
	char name[64];
	jsOptions jo;
	jsErrCode code = 0;
	natsStatus s;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected");
	jsOptions_Init(&jo);
	jo.Wait = 5000;
	jo.Stream.Purge.Subject = filter;
	jo.Stream.Purge.Sequence = upto + 1;
	s = js_PurgeStream(bus->js, bus_stream_name(bus, STREAM, name, sizeof(name)), &jo, &code);
	if (s != NATS_OK)
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS: purge %s: %s (%d)", filter,
			       natsStatus_GetText(s), (int)code);
	return OC_OK;
}

enum oc_err stream_read(struct bus *bus, const char *filter, uint64_t after, struct stream_reader **ret,
			struct oc_fail *reterr)
{
	char name[64];
	natsSubscription *sub = NULL;
	unsigned generation = bus_generation(bus);
	jsSubOptions so;
	jsErrCode code = 0;
	natsStatus s;
	enum oc_err err;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected");
	err = bus_streams_ensure(bus, reterr);
	if (err != OC_OK)
		return err;
	jsSubOptions_Init(&so);
	so.Stream = bus_stream_name(bus, STREAM, name, sizeof(name));
	so.Ordered = true;
	so.Config.DeliverPolicy = js_DeliverByStartSequence;
	so.Config.OptStartSeq = after + 1;
	s = js_SubscribeSync(&sub, bus->js, filter, NULL, &so, &code);
	if (s != NATS_OK) {
		bus_doubt(bus);
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS: read %s: %s (%d)", filter,
			       natsStatus_GetText(s), (int)code);
	}
	/* the server's flow control keeps far less than that under way */
	natsSubscription_SetPendingLimits(sub, 1 << 20, 512 << 20);
	*ret = mem_alloc(sizeof(**ret));
	**ret = (struct stream_reader){ .bus_ref = bus, .sub = sub, .generation = generation, .last = after };
	return OC_OK;
}

void stream_reader_close(struct stream_reader *r)
{
	if (!r)
		return;
	natsSubscription_Unsubscribe(r->sub);
	natsSubscription_Destroy(r->sub);
	free(r);
}

bool stream_reader_ok(const struct stream_reader *r)
{
	return !r->broken && bus_connected(r->bus_ref) && natsSubscription_IsValid(r->sub) &&
	       r->generation == bus_generation(r->bus_ref);
}

bool stream_next(struct stream_reader *r, int timeout_ms, struct stream_item *ret)
{
	jsMsgMetaData *meta = NULL;
	const char *tenant = NULL;
	natsMsg *msg = NULL;
	natsStatus s = natsSubscription_NextMsg(&msg, r->sub, timeout_ms);

	if (s != NATS_OK) {
		if (s != NATS_TIMEOUT)
			r->broken = true;
		return false;
	}
	if (natsMsg_GetMetaData(&meta, msg) != NATS_OK) {
		natsMsg_Destroy(msg);
		return false;
	}
	*ret = (struct stream_item){ .seq = meta->Sequence.Stream,
				     .stored_us = meta->Timestamp / 1000,
				     .subject = natsMsg_GetSubject(msg),
				     .body = natsMsg_GetData(msg),
				     .len = (size_t)natsMsg_GetDataLength(msg),
				     .handle = msg };
	jsMsgMetaData_Destroy(meta);
	if (natsMsgHeader_Get(msg, "Oc-Tenant", &tenant) == NATS_OK)
		ret->tenant_id = strtoll(tenant, NULL, 10);
	/* an ordered reader that started again may show what was seen already */
	if (ret->seq <= r->last) {
		stream_item_done(ret);
		return false;
	}
	r->last = ret->seq;
	return true;
}

void stream_item_done(struct stream_item *item)
{
	natsMsg_Destroy(item->handle);
	item->handle = NULL;
}
