#define LOG_ROOM "bus"
#include "wire/bus/bus.h"
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/bus/inside.h"

/* Lives until its last delivery has been acknowledged or forgotten: another thread may still work on that when the
 * subscription has long been made anew. */
struct bus_sub {
	natsSubscription *sub;
	atomic_uint users;
};

struct bus_delivery {
	natsMsg *msg;
	struct bus_sub *sub_ref;
};

/* One line of the whole table: what is kept, where, and what happens when it is full. Commands and events are rows of
 * PostgreSQL, and a message only wakes: they are kept in memory, since a file would cost a sync of the disk for each
 * (sync_interval: always holds for the whole server, no stream can be left out). Telemetry is acknowledged to its
 * sender by what the file holds, and stays there. */
static const struct stream_row {
	const char *name, *subjects;
	jsRetentionPolicy retention;
	jsDiscardPolicy discard;
	jsStorageType storage;
	int64_t max_age_s, max_bytes;
} streams[] = {
	{ "CMD", "cmd.>", js_WorkQueuePolicy, js_DiscardOld, js_MemoryStorage, 24 * 3600, (int64_t)64 << 20 },
	{ "EVT", "evt.>", js_LimitsPolicy,    js_DiscardOld, js_MemoryStorage, 3600,      (int64_t)64 << 20 },
	{ "TEL", "tel.>", js_LimitsPolicy,    js_DiscardNew, js_FileStorage,   0,         (int64_t)1 << 30  },
};

static enum oc_err bus_fail(natsStatus s, const char *what, struct oc_fail *reterr)
{
	return oc_fail(reterr, OC_UNAVAILABLE, "NATS: %s: %s", what, natsStatus_GetText(s));
}

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure)
{
	struct bus *bus = closure;
	const char *id_text = NULL;
	long long id = 0;

	(void)js;
	if (natsMsgHeader_Get(msg, "Oc-Id", &id_text) == NATS_OK)
		id = strtoll(id_text, NULL, 10);
	pthread_mutex_lock(&bus->lock);
	for (size_t lo = 0, hi = bus->batch_len; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (bus->batch[mid].id < id) {
			lo = mid + 1;
		} else if (bus->batch[mid].id > id) {
			hi = mid;
		} else {
			bus->batch[mid].ok = pa != NULL && pae == NULL;
			/* No stream, or one that is full: look at what the server has before the next try. */
			if (pae)
				atomic_fetch_add(&bus->generation, 1);
			if (bus->outstanding && --bus->outstanding == 0)
				pthread_cond_signal(&bus->acked);
			break;
		}
	}
	pthread_mutex_unlock(&bus->lock);
	natsMsg_Destroy(msg);
}

static void on_state(natsConnection *nc, void *closure)
{
	struct bus *bus = closure;

	if (natsConnection_Status(nc) == NATS_CONN_STATUS_CONNECTED) {
		/* It may have come back without its storage. */
		atomic_fetch_add(&bus->generation, 1);
		log_info("connected");
	} else {
		log_warn("not connected; the loop goes on by sweeping PostgreSQL");
	}
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus err, void *closure)
{
	(void)nc, (void)sub, (void)closure;
	log_debug("asynchronous: %s", natsStatus_GetText(err));
}

enum oc_err bus_open(const struct bus_config *cfg, struct bus **ret, struct oc_fail *reterr)
{
	struct bus *bus = mem_alloc(sizeof(*bus));
	natsOptions *opts = NULL;
	pthread_condattr_t attr;
	natsStatus s;

	bus->prefix = mem_strdup(cfg->prefix ? cfg->prefix : "");
	bus->replicas = cfg->replicas > 0 ? cfg->replicas : 1;
	bus->tel_bytes = cfg->tel_bytes;
	atomic_init(&bus->generation, 1);
	pthread_mutex_init(&bus->streams_lock, NULL);
	pthread_mutex_init(&bus->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&bus->acked, &attr);
	pthread_condattr_destroy(&attr);

	s = natsOptions_Create(&opts);
	if (s == NATS_OK)
		s = natsOptions_SetURL(opts, cfg->url);
	if (s == NATS_OK && !str_empty(cfg->token))
		s = natsOptions_SetToken(opts, cfg->token);
	if (s == NATS_OK && !str_empty(cfg->name))
		s = natsOptions_SetName(opts, cfg->name);
	if (s == NATS_OK)
		s = natsOptions_SetMaxReconnect(opts, -1);
	if (s == NATS_OK)
		s = natsOptions_SetReconnectWait(opts, 250);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(opts, 2000);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(opts, 5000);
	if (s == NATS_OK)
		s = natsOptions_SetRetryOnFailedConnect(opts, true, on_state, bus);
	if (s == NATS_OK)
		s = natsOptions_SetDisconnectedCB(opts, on_state, bus);
	if (s == NATS_OK)
		s = natsOptions_SetReconnectedCB(opts, on_state, bus);
	if (s == NATS_OK)
		s = natsOptions_SetErrorHandler(opts, on_error, bus);
	/* What was written while away would arrive late and twice: the outbox remembers, not the socket. */
	if (s == NATS_OK)
		s = natsOptions_SetReconnectBufSize(opts, 1);
	if (s == NATS_OK) {
		s = natsConnection_Connect(&bus->nc, opts);
		if (s == NATS_NOT_YET_CONNECTED)
			s = NATS_OK;
	}
	natsOptions_Destroy(opts);
	if (s == NATS_OK) {
		jsOptions jo;

		jsOptions_Init(&jo);
		jo.Wait = 2000;
		jo.PublishAsync.MaxPending = 4096;
		jo.PublishAsync.AckHandler = on_ack;
		jo.PublishAsync.AckHandlerClosure = bus;
		s = natsConnection_JetStream(&bus->js, bus->nc, &jo);
	}
	if (s != NATS_OK) {
		enum oc_err err = bus_fail(s, cfg->url, reterr);

		bus_close(bus);
		return err;
	}
	*ret = bus;
	return OC_OK;
}

void bus_close(struct bus *bus)
{
	struct listener *l, *next;

	if (!bus)
		return;
	for (l = bus->listeners; l; l = next) {
		next = l->next;
		natsSubscription_Unsubscribe(l->sub);
		natsSubscription_Destroy(l->sub);
	}
	if (bus->nc)
		natsConnection_Close(bus->nc);
	jsCtx_Destroy(bus->js);
	natsConnection_Destroy(bus->nc);
	for (l = bus->listeners; l; l = next) {
		next = l->next;
		free(l);
	}
	pthread_cond_destroy(&bus->acked);
	pthread_mutex_destroy(&bus->lock);
	pthread_mutex_destroy(&bus->streams_lock);
	free(bus->prefix);
	free(bus);
}

bool bus_connected(const struct bus *bus)
{
	return bus && natsConnection_Status(bus->nc) == NATS_CONN_STATUS_CONNECTED;
}

const char *bus_stream_name(const struct bus *bus, const char *stream, char *out, size_t n)
{
	snprintf(out, n, "%s%s", bus->prefix, stream);
	return out;
}

unsigned bus_generation(const struct bus *bus)
{
	return atomic_load(&((struct bus *)bus)->generation);
}

static bool on_disk(struct bus *bus, const char *name)
{
	jsStreamInfo *info = NULL;
	bool yes = js_GetStreamInfo(&info, bus->js, name, NULL, NULL) == NATS_OK &&
		   info->Config->Storage == js_FileStorage;

	jsStreamInfo_Destroy(info);
	return yes;
}

/* Made when first needed and whenever the server has forgotten them (a broker with empty storage). */
static enum oc_err make_streams(struct bus *bus, struct oc_fail *reterr)
{
	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		const struct stream_row *row = &streams[i];
		const char *subjects[] = { row->subjects };
		char name[64];
		jsStreamConfig cfg;
		jsErrCode code = 0;
		natsStatus s;

		jsStreamConfig_Init(&cfg);
		cfg.Name = bus_stream_name(bus, row->name, name, sizeof(name));
		cfg.Subjects = subjects;
		cfg.SubjectsLen = 1;
		cfg.Retention = row->retention;
		cfg.Discard = row->discard;
		cfg.Storage = row->storage;
		cfg.Replicas = bus->replicas;
		cfg.MaxAge = row->max_age_s * 1000000000LL;
		cfg.MaxBytes = row->discard == js_DiscardNew && bus->tel_bytes > 0 ? bus->tel_bytes
										   : row->max_bytes;
		cfg.Duplicates = 120 * 1000000000LL;
		s = js_AddStream(NULL, bus->js, &cfg, NULL, &code);
		if (s != NATS_OK && code == JSStreamNameExistErr)
			s = js_UpdateStream(NULL, bus->js, &cfg, NULL, &code);
		/* Where it is kept cannot be changed, and what it holds is in PostgreSQL: made anew. */
		if (s != NATS_OK && row->storage == js_MemoryStorage && on_disk(bus, name) &&
		    js_DeleteStream(bus->js, name, NULL, &code) == NATS_OK)
			s = js_AddStream(NULL, bus->js, &cfg, NULL, &code);
		if (s != NATS_OK)
			return oc_fail(reterr, OC_UNAVAILABLE, "NATS: stream %s: %s (%d)", name,
				       natsStatus_GetText(s), (int)code);
	}
	return OC_OK;
}

enum oc_err bus_streams_ensure(struct bus *bus, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	unsigned now;

	pthread_mutex_lock(&bus->streams_lock);
	now = atomic_load(&bus->generation);
	if (bus->streams_made != now) {
		err = make_streams(bus, reterr);
		if (err == OC_OK)
			bus->streams_made = now;
	}
	pthread_mutex_unlock(&bus->streams_lock);
	return err;
}

enum oc_err bus_publish(struct bus *bus, struct bus_msg *msgs, size_t n, int timeout_ms,
			struct oc_fail *reterr)
{
	struct timespec until;
	enum oc_err err;
	size_t sent = 0;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected");
	err = bus_streams_ensure(bus, reterr);
	if (err != OC_OK)
		return err;
	for (size_t i = 0; i < n; i++)
		msgs[i].ok = false;
	pthread_mutex_lock(&bus->lock);
	bus->batch = msgs;
	bus->batch_len = n;
	bus->outstanding = n;
	pthread_mutex_unlock(&bus->lock);
	for (size_t i = 0; i < n; i++) {
		natsMsg *msg = NULL;
		jsPubOptions po;
		char id[24];
		natsStatus s;

		snprintf(id, sizeof(id), "%lld", msgs[i].id);
		jsPubOptions_Init(&po);
		po.MsgId = msgs[i].msg_id;
		s = natsMsg_Create(&msg, msgs[i].subject, NULL, msgs[i].body, (int)strlen(msgs[i].body));
		if (s == NATS_OK)
			s = natsMsgHeader_Set(msg, "Oc-Id", id);
		if (s == NATS_OK)
			s = js_PublishMsgAsync(bus->js, &msg, &po);
		natsMsg_Destroy(msg);
		/* One that the library refuses, for its size say, must not keep the others back. */
		if (s == NATS_OK)
			sent++;
		else
			log_warn("message %lld on %s: %s", msgs[i].id, msgs[i].subject,
				 natsStatus_GetText(s));
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&bus->lock);
	bus->outstanding -= bus->outstanding >= n - sent ? n - sent : bus->outstanding;
	while (bus->outstanding && pthread_cond_timedwait(&bus->acked, &bus->lock, &until) == 0)
		;
	if (bus->outstanding)
		atomic_fetch_add(&bus->generation, 1); /* nobody answered: look at the streams again */
	bus->batch = NULL;
	bus->batch_len = 0;
	bus->outstanding = 0;
	pthread_mutex_unlock(&bus->lock);
	return OC_OK;
}

enum oc_err bus_subscribe(struct bus *bus, const char *stream, const char *durable,
			  const char *const *subjects, size_t n, struct bus_sub **ret, struct oc_fail *reterr)
{
	char sname[64], dname[96], deliver[128];
	jsConsumerConfig cfg;
	jsConsumerInfo *info = NULL;
	jsSubOptions so;
	jsErrCode code = 0;
	enum oc_err err;
	natsStatus s;
	natsSubscription *sub = NULL;

	if (!bus_connected(bus))
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS is not connected");
	err = bus_streams_ensure(bus, reterr);
	if (err != OC_OK)
		return err;
	bus_stream_name(bus, stream, sname, sizeof(sname));
	snprintf(dname, sizeof(dname), "%s%s", bus->prefix, durable);
	snprintf(deliver, sizeof(deliver), "_deliver.%s", dname);
	jsConsumerConfig_Init(&cfg);
	cfg.Durable = dname;
	cfg.DeliverSubject = deliver;
	cfg.DeliverGroup = dname;
	cfg.AckPolicy = js_AckExplicit;
	cfg.AckWait = 30LL * 1000000000;
	cfg.MaxAckPending = 8192;
	if (n == 1) {
		cfg.FilterSubject = subjects[0];
	} else {
		cfg.FilterSubjects = (const char **)subjects;
		cfg.FilterSubjectsLen = (int)n;
	}
	s = js_AddConsumer(&info, bus->js, sname, &cfg, NULL, &code);
	jsConsumerInfo_Destroy(info);
	if (s != NATS_OK) {
		atomic_fetch_add(&bus->generation, 1);
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS: consumer %s: %s (%d)", dname,
			       natsStatus_GetText(s), (int)code);
	}
	jsSubOptions_Init(&so);
	so.Stream = sname;
	so.Consumer = dname;
	so.Queue = dname;
	so.ManualAck = true;
	s = js_SubscribeSync(&sub, bus->js, n == 1 ? subjects[0] : NULL, NULL, &so, &code);
	if (s != NATS_OK)
		return oc_fail(reterr, OC_UNAVAILABLE, "NATS: subscribe %s: %s (%d)", dname,
			       natsStatus_GetText(s), (int)code);
	natsSubscription_SetPendingLimits(sub, 65536, 256 << 20);
	*ret = mem_alloc(sizeof(**ret));
	(*ret)->sub = sub;
	atomic_init(&(*ret)->users, 1);
	return OC_OK;
}

static void sub_put(struct bus_sub *sub)
{
	if (atomic_fetch_sub(&sub->users, 1) != 1)
		return;
	natsSubscription_Destroy(sub->sub);
	free(sub);
}

void bus_unsubscribe(struct bus_sub *sub)
{
	if (!sub)
		return;
	natsSubscription_Unsubscribe(sub->sub);
	sub_put(sub);
}

size_t bus_fetch(struct bus_sub *sub, struct bus_delivery **ret, size_t max, int timeout_ms)
{
	size_t n = 0;

	while (n < max) {
		natsMsg *msg = NULL;
		uint64_t queued = 0;

		/* Only what is here already is taken after the first: waiting for a full batch is latency. */
		if (n > 0 && (natsSubscription_QueuedMsgs(sub->sub, &queued) != NATS_OK || queued == 0))
			break;
		if (natsSubscription_NextMsg(&msg, sub->sub, n ? 1 : timeout_ms) != NATS_OK)
			break;
		ret[n] = mem_alloc(sizeof(*ret[n]));
		*ret[n++] = (struct bus_delivery){ .msg = msg, .sub_ref = sub };
		atomic_fetch_add(&sub->users, 1);
	}
	return n;
}

long long bus_delivery_id(const struct bus_delivery *d)
{
	const char *id = NULL;

	if (natsMsgHeader_Get(d->msg, "Oc-Id", &id) != NATS_OK)
		return 0;
	return strtoll(id, NULL, 10);
}

const char *bus_delivery_subject(const struct bus_delivery *d)
{
	return natsMsg_GetSubject(d->msg);
}

void bus_ack(struct bus_delivery *d)
{
	natsMsg_Ack(d->msg, NULL);
	bus_forget(d);
}

void bus_forget(struct bus_delivery *d)
{
	natsMsg_Destroy(d->msg);
	sub_put(d->sub_ref);
	free(d);
}

static void on_listen(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
	struct listener *l = closure;

	(void)nc, (void)sub;
	l->fn(l->ctx, natsMsg_GetSubject(msg), natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
	natsMsg_Destroy(msg);
}

enum oc_err bus_listen(struct bus *bus, const char *subject,
		       void (*fn)(void *ctx, const char *subject, const char *body, size_t len), void *ctx,
		       struct oc_fail *reterr)
{
	struct listener *l = mem_alloc(sizeof(*l));
	natsStatus s;

	l->fn = fn;
	l->ctx = ctx;
	s = natsConnection_Subscribe(&l->sub, bus->nc, subject, on_listen, l);
	if (s != NATS_OK) {
		free(l);
		return bus_fail(s, subject, reterr);
	}
	l->next = bus->listeners;
	bus->listeners = l;
	return OC_OK;
}
