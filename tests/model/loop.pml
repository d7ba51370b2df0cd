/* loop.pml - the closed loop under faults, small enough to try every order of events.
 *
 * Around one case live the relay, a bus that may lose, repeat and reorder, two replicas of the workers, the
 * adapter's children, the orchestrator's loop, PostgreSQL's clock, the janitor and a person. A transaction is an
 * atomic block. Whoever keeps something in memory between two transactions may die there and begins anew
 * with nothing; the adapter's child outlives the executor that started it. Two views of the same code, since both
 * at once are too many states:
 *   (default)    from GATE, which stands for each state whose command has no effect on the world, through EXEC to
 *                the end, with a person who revises the plan on the way; the executor is one transaction
 *   -D EFFECTS   EXEC alone, with every transaction of the executor: intent, effect, result, probe, cancel
 * -D TIMERS lets a state's deadline pass at any moment; without it nothing ends a case but delivery itself.
 *
 * What must hold:
 *   once    no effect twice for one idempotency key
 *   truth   CLOSED means applied; "failed" and "cancelled" mean not applied, now and later
 *   epoch   what answers an older question, or was read in an older epoch, moves nothing
 *   inbox   an event is handled once, however often it is delivered
 *   tries   a step is not tried more often than the plan allows, whatever crashes in between
 *   lost    when nothing moves any more, no row of the outbox is open
 *   stuck   every run ends with the case CLOSED or PARKED (also as LTL: there is no way to go round for ever)
 *
 * Faults are counted, so that runs are finite without any fairness. Lines with "code:" name what a block stands
 * for; tests/scripts/test_model.sh looks each name up in the sources. Each guard can be taken out by a
 * -D NO_..., and the same script wants a fault to be found then.
 *
 * Of the statements on a command's way these have no block of their own, and why:
 * left out: SQL_COMMAND_OPEN SQL_OUTBOX_EVENTS_OPEN (the same rows without the bus: delivery that cannot be lost)
 * left out: SQL_COMMAND_LATER SQL_COMMAND_BACK SQL_COMMAND_RENEW_MANY (a lapse of the lease, at another moment)
 * left out: SQL_COMMAND_SUPERSEDED (tidies commands of an epoch that is over; nobody answers those any more)
 * left out: SQL_INSTALLATION (the message id's first half)
 * left out: SQL_COMMIT_LAZILY (what a crash of PostgreSQL can forget of a lease or of an answer is, for everybody else, a
 *   worker that died before it: nobody acts on either before a commit that takes it along) */

#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef REPEATS
#define REPEATS 1
#endif
#ifndef MISSES
#define MISSES 1	/* transitions of the janitor that fail: a lost race, a lost connection */
#endif
#define ATTEMPTS 2	/* outbox.max_attempts */
#define TRIES 2		/* of the plan's only step: retry 1 */
#ifdef EFFECTS
#define ROWS 1
#define each(f) f(0)
#define any(f) f(0)
#define first(f) 0
#else
#define ROWS 3		/* the commands one run can need: GATE, GATE for the revised plan, EXEC */
#define each(f) f(0) f(1) f(2)
#define any(f) (f(0) || f(1) || f(2))
#define first(f) (f(0) -> 0 : (f(1) -> 1 : 2))
#endif

mtype:state = { GATE, EXEC, PARKED, CLOSED };
mtype:word = { NOTHING, APPROVED, REJECTED, DONE, FAILED, UNKNOWN, CANCELLED, EXPIRED, NO_WORKER, LATE };
mtype:row = { NO_ROW, INTENT, SUCCEEDED, NOT_APPLIED, UNCLEAR };
mtype:kid = { NONE, RUNNING, APPLIED, GONE };

/* ---- PostgreSQL ---- */

#ifdef EFFECTS			/* ops_case */
mtype:state status = EXEC;
#else
mtype:state status = GATE;
#endif
mtype:word why = NOTHING;
byte epoch = 1;
byte current = 0;		/* cmd_id */
bit cancel = 0;			/* cancel_cause */

byte used = 1;			/* rows of the outbox */
typedef command {
	bit executes, done, leased, published, seen;
	byte epoch, attempts;	/* each lease draws a new token, so the attempt's number stands for it */
	bit holder;
};
typedef event {			/* the answer to the command with the same number */
	bit there, done, published, seen, handled;
	mtype:word says;
};
command cmd[ROWS];
event evt[ROWS];

bit waits = 0;			/* a gate_decision is pending: people were asked */
byte waits_epoch = 0;

mtype:row step = NO_ROW;	/* exec_step: the last attempt of the step */
byte tries = 0;			/* and its number */

/* ---- what is on its way: two sets, so any order ---- */

bit cmd_bus[ROWS];
bit evt_bus[ROWS];

/* From hand to hand inside of a process: such a row is written as published, so the relay leaves it alone, and a
 * process that dies takes all that it had in hand with it. code: handover_give() seat_take() command_way() all_by_hand() */
bit cmd_hand[ROWS];
bit evt_hand[ROWS];

/* ---- the world ---- */

byte effects = 0;
mtype:kid child[2];

byte crashes = 0, losses = 0, repeats = 0, misses = 0;
bit late = 0;

#define settled (status == PARKED || status == CLOSED)
#define dies	crashes < CRASHES -> crashes++	/* the first words of every branch in which a process is killed */

/* What is done is looked at by nobody (NO_INBOX apart), so all else about it is forgotten here, messages on their
 * way included: they would move nothing, and half of the states are saved. */
inline over(n)
{
	cmd[n].done = 1;
	cmd[n].leased = 0;
	cmd[n].published = 0;
	cmd[n].seen = 0;
	cmd[n].attempts = 0;
	cmd[n].holder = 0;
	cmd_hand[n] = 0;
	cmd_bus[n] = 0
}
inline heard(n)
{
	evt[n].done = 1;
#ifndef NO_INBOX
	evt[n].published = 0;
	evt[n].seen = 0;
	evt[n].says = NOTHING;
	evt_hand[n] = 0;
	evt_bus[n] = 0
#endif
}

/* ---- the one door: status, epoch and the next command in one transaction, or nothing ----
 * code: case_step() batch_accept() batch_send() SQL_STEP_CASE SQL_STEP_OUTBOX SQL_STEP_COMMANDS_OVER */

inline enter(to, reason)
{
	status = to;
	why = reason;
	epoch++;
	cancel = 0;
	over(current)	/* the command of a state that was left: nobody needs to try */
}

/* Whoever is for it may be in the same process, or not. */
#define by_hand(r, hand) if :: r.published = 1; hand = 1 :: skip fi

inline ask(what)
{
	current = used;
	used++;
	cmd[current].executes = what;
	cmd[current].epoch = epoch;
	by_hand(cmd[current], cmd_hand[current])
}

/* ---- the relay: what is not marked is published, then marked ----
 * code: relay_run() publish_batch() SQL_OUTBOX_UNPUBLISHED SQL_OUTBOX_PUBLISHED bus_publish() */

/* JetStream drops a message id that it has seen. The id has the number of the offer in it, and the mark counts
 * offers: so it is a new one from then on. */
#define publish(r, bus) if :: r.seen -> skip :: else -> r.seen = 1; bus = 1 fi
#ifdef NO_OFFER_IN_ID
#define marked(r) r.published = 1
#else
#define marked(r) r.published = 1; r.seen = 0
#endif

#define cmd_new(n) (n < used && !cmd[n].published && !cmd[n].done)
#define evt_new(n) (evt[n].there && !evt[n].published && !evt[n].done)

active proctype relay()
{
	byte i;

end_life:
	do
	:: atomic { any(cmd_new) -> i = first(cmd_new); publish(cmd[i], cmd_bus[i]) }
		if
		:: atomic { cmd[i].done -> i = 0 }
		:: atomic { !cmd[i].done -> marked(cmd[i]); i = 0 }
		:: atomic { dies; i = 0 }
		fi
	:: atomic { any(evt_new) -> i = first(evt_new); publish(evt[i], evt_bus[i]) }
		if
		:: atomic { evt[i].done -> i = 0 }
		:: atomic { !evt[i].done -> marked(evt[i]); i = 0 }
		:: atomic { dies; i = 0 }
		fi
	od
}

/* ---- the bus loses; that it repeats is said where a message is taken ---- */

#define take(bus) if :: bus = 0 :: repeats < REPEATS -> repeats++ fi
#define lose(n) \
	:: atomic { cmd_bus[n] && losses < LOSSES -> cmd_bus[n] = 0; losses++ } \
	:: atomic { evt_bus[n] && losses < LOSSES -> evt_bus[n] = 0; losses++ }

active proctype bus()
{
end_life:
	do
	each(lose)
	od
}

/* A seat is emptied by the death of its process, whichever thread dies with it. */
#define drop(n) \
	:: atomic { cmd_hand[n] && crashes < CRASHES -> crashes++; cmd_hand[n] = 0 } \
	:: atomic { evt_hand[n] && crashes < CRASHES -> crashes++; evt_hand[n] = 0 }

active proctype seats()
{
end_life:
	do
	each(drop)
	od
}

/* ---- the orchestrator's loop: the inbox and the step in one transaction, the ack after it ----
 * Dying before the commit leaves the message with the bus, after it a repeat: both are there without a branch.
 * code: loop_step() step_rows() step_decide() SQL_STEP_READ_EVENTS SQL_STEP_EVENTS_DONE SQL_STEP_OPEN_EVENTS */

inline decide(n)
{
	if
	:: status == GATE && evt[n].says == APPROVED ->
		assert(cmd[n].epoch == epoch);		/* epoch */
		if
		:: enter(EXEC, NOTHING);
#ifdef NO_OUTBOX
			asks = 1
#else
			ask(1)
#endif
#ifdef NO_WAY_OUT_OF_A_REFUSAL
		:: skip		/* approved, but too late by now: refused, and nobody speaks again */
#else
		:: enter(PARKED, EXPIRED)	/* approved, but too late by now: decision_binds does not hold */
#endif
		fi
	:: status == GATE && evt[n].says == REJECTED ->
		assert(cmd[n].epoch == epoch);
		enter(PARKED, REJECTED)
	:: status == EXEC && evt[n].says == DONE ->
		assert(cmd[n].epoch == epoch);
		assert(effects == 1);			/* truth */
		enter(CLOSED, DONE)
	:: status == EXEC && (evt[n].says == FAILED || evt[n].says == CANCELLED) ->
		assert(cmd[n].epoch == epoch);
		assert(effects == 0);			/* truth; the child asserts the rest of it */
		enter(PARKED, evt[n].says)
	:: status == EXEC && evt[n].says == UNKNOWN ->
		assert(cmd[n].epoch == epoch);
		enter(PARKED, UNKNOWN)
	:: else -> skip
	fi
}

#ifdef NO_INBOX
#define fresh(n) true
#else
#define fresh(n) (!evt[n].done)
#endif
#ifdef NO_EPOCH_FENCE
#define of_this_epoch(n) true
#else
#define of_this_epoch(n) (cmd[n].epoch == epoch)
#endif

#define hear(n) \
	:: atomic { evt_bus[n] || evt_hand[n] -> \
		if :: evt_hand[n] -> evt_hand[n] = 0 :: evt_bus[n] -> take(evt_bus[n]) fi; \
		if \
		:: fresh(n) -> \
			assert(!evt[n].handled);	/* inbox */ \
			evt[n].handled = 1; \
			if :: of_this_epoch(n) -> decide(n) :: else -> skip fi; \
			heard(n) \
		:: else -> skip \
		fi }

active proctype loop()
{
	bit asks;

end_life:
	do
	each(hear)
#ifdef NO_OUTBOX
	:: atomic { asks -> asks = 0; ask(1) }
	:: atomic { asks && crashes < CRASHES -> crashes++; asks = 0 }
#endif
	od
}

/* ---- a replica of the workers: lease, work, answer ----
 * code: lease_and_work() work_leased() commit_answers() answer_at_once() answer_held()
 * code: SQL_COMMAND_LEASE SQL_COMMAND_FINISH SQL_COMMAND_HOLD SQL_COMMAND_ANSWER SQL_COMMAND_DONE */

#ifdef NO_LEASE
#define lease_free(n) true
#else
#define lease_free(n) (!cmd[n].leased)
#endif

/* The bus is acked when the lease is committed: dying before leaves the message there, so it is one block. */
#define lease(n) \
	:: atomic { cmd_bus[n] || cmd_hand[n] -> \
		if :: cmd_hand[n] -> cmd_hand[n] = 0 :: cmd_bus[n] -> take(cmd_bus[n]) fi; \
		if \
		:: !cmd[n].done && lease_free(n) && cmd[n].attempts < ATTEMPTS -> \
			i = n; \
			cmd[n].leased = 1; \
			cmd[n].attempts++; \
			cmd[n].holder = me; \
			token = cmd[n].attempts; \
			goto leased \
		:: else -> skip \
		fi }

#ifdef NO_TOKEN
#define holds (!cmd[i].done && cmd[i].epoch == epoch)
#else
#define holds (cmd[i].attempts == token && !cmd[i].done && cmd[i].epoch == epoch)
#endif
#define forget i = 0; token = 0; n = 0; says = NOTHING; o = NO_ROW

/* code: command_renew() run_beat() SQL_COMMAND_RENEW: a lease that cannot be moved on runs out, its holder
 * alive or not. The leash is shorter than the lease, so its child is gone by then. code: LEASE_MARGIN_MS */
#ifdef NO_LEASH
#define cut(n) skip
#else
#define cut(n) if :: child[cmd[n].holder] == RUNNING -> child[cmd[n].holder] = GONE :: else -> skip fi
#endif
#define lapse(n) :: atomic { cmd[n].leased -> cut(n); cmd[n].leased = 0 }

active proctype clock()
{
end_life:
	do
	each(lapse)
	od
}

/* What is true of the step; nobody asks while a child of it lives. code: ask_probe() */
inline probe()
{
#ifdef NO_PROBE
	o = NOT_APPLIED
#else
	if
	:: effects > 0 -> o = SUCCEEDED
	:: effects == 0 -> o = NOT_APPLIED
	:: o = UNCLEAR
	fi
#endif
}

proctype worker(bit me)
{
	byte i, token, n;
	mtype:word says;
	mtype:row o;

end_life:
	do
	each(lease)
	od;

leased:
#ifdef EFFECTS
	/* code: exec_work() carry_out() run_step() SQL_EXEC_LOAD SQL_EXEC_RUN_OPEN SQL_EXEC_STEPS */
	if
	:: atomic { step == SUCCEEDED -> says = DONE; goto answer }
	:: atomic { step == UNCLEAR -> says = UNKNOWN; goto answer }
	:: atomic { step == INTENT -> n = tries; goto settle }		/* of a crash */
#ifdef NO_MEMORY_OF_TRIES
	:: atomic { step == NO_ROW || step == NOT_APPLIED -> n = tries; goto intent }
#else
	:: atomic { step == NOT_APPLIED && tries >= TRIES -> says = FAILED; goto answer }
	:: atomic { step == NO_ROW || (step == NOT_APPLIED && tries < TRIES) -> n = tries; goto intent }
#endif
	:: atomic { dies; forget; goto end_life }
	fi;

settle:	/* code: settle_intent() */
	if
	:: atomic { probe(); goto result }
	:: atomic { dies; forget; goto end_life }
	fi;

intent:	/* code: write_intent() SQL_EXEC_INTENT: by lease, epoch, no cancel; and UNIQUE (tenant_id, run_id, seq, attempt) */
	if
	:: atomic { holds && cmd[i].leased && !cancel && tries == n ->
		n++;
		assert(n <= TRIES);	/* tries */
#ifndef NO_INTENT
		step = INTENT;
		tries = n;
#endif
		goto dispatch }
	:: atomic { holds && cmd[i].leased && cancel && tries == n -> says = CANCELLED; goto answer }
	:: atomic { !(holds && cmd[i].leased && tries == n) -> forget; goto end_life }	/* lost: stop without a trace */
	:: atomic { dies; forget; goto end_life }
	fi;

dispatch:	/* code: run_adapter() call_adapter() host_call() host_leash_extend() */
	if
	:: atomic { child[me] != RUNNING ->
#ifdef NO_LEASH
		child[me] = RUNNING;
#else
		child[me] = (holds && cmd[i].leased -> RUNNING : GONE);	/* a lapsed leash: it never begins */
#endif
		goto wait }
	:: atomic { dies; forget; goto end_life }
	fi;

wait:	/* a crash or a timeout is unclear, and then the probe is asked */
	if
	:: atomic { child[me] == APPLIED -> child[me] = NONE; if :: o = SUCCEEDED :: probe() fi; goto result }
	:: atomic { child[me] == GONE -> child[me] = NONE; if :: o = NOT_APPLIED :: probe() fi; goto result }
	:: atomic { dies; forget; goto end_life }
	fi;

result:	/* code: write_result() SQL_EXEC_RESULT judge() */
	if
	:: atomic {
		if
		:: step == INTENT && tries == n -> step = o
#ifdef NO_INTENT
		:: tries < n -> step = o; tries = n
#endif
		:: else -> skip		/* somebody else has settled it: the next fence will tell */
		fi;
		if
		:: o == SUCCEEDED -> says = DONE; goto answer
		:: o == UNCLEAR -> says = UNKNOWN; goto answer
		:: o == NOT_APPLIED && n < TRIES -> o = NO_ROW; goto intent
		:: o == NOT_APPLIED && n >= TRIES -> says = FAILED; goto answer
		fi }
	:: atomic { dies; forget; goto end_life }
	fi;
answer:	/* code: answer_run() SQL_EXEC_RUN_END */
#endif

	/* The product, the event and "done" in one transaction; without the lease, nothing of them. */
	if
	:: atomic { holds ->
#ifndef EFFECTS
		if
		:: cmd[i].executes -> effects = 1; says = DONE
		:: cmd[i].executes -> says = UNKNOWN
		:: !cmd[i].executes -> says = APPROVED	/* code: gate_role() */
		:: !cmd[i].executes -> says = REJECTED
		:: !cmd[i].executes -> says = NOTHING	/* done without an event: people are asked */
		fi;
#endif
		over(i);
#ifdef NO_ONE_TRANSACTION
		goto tell }
#else
		if
		:: says == NOTHING -> waits = 1; waits_epoch = epoch
		:: else -> evt[i].there = 1; evt[i].says = says; by_hand(evt[i], evt_hand[i])
		fi;
		forget; goto end_life }
#endif
	:: atomic { !holds -> forget; goto end_life }
	:: atomic { dies; forget; goto end_life }
	fi;
#ifdef NO_ONE_TRANSACTION
tell:
	if
	:: atomic { says == NOTHING -> waits = 1; waits_epoch = epoch; forget; goto end_life }
	:: atomic { says != NOTHING -> evt[i].there = 1; evt[i].says = says; by_hand(evt[i], evt_hand[i]); forget; goto end_life }
	:: atomic { dies; forget; goto end_life }
	fi
#endif
}

/* ---- the adapter's child: does it, or ends without, whenever it likes ----
 * It is another process: it may live on when the executor has died. code: opscase-runner */

#define live(n) \
	:: atomic { child[n] == RUNNING -> \
		effects++; \
		assert(effects == 1);						/* once */ \
		assert(!(settled && (why == FAILED || why == CANCELLED)));	/* truth */ \
		child[n] = APPLIED } \
	:: atomic { child[n] == RUNNING -> child[n] = GONE }

active proctype children()
{
end_life:
	do
	live(0)
	live(1)
	od
}

/* ---- the janitor: reads what is over, then says so through the door; in between the world goes on ----
 * code: janitor_sweep() say() transition() */

#ifdef NO_EPOCH_IN_TIMERS
#define as_read true
#else
#define as_read (epoch == seen)
#endif
#define rest i = 0; seen = 0; mine = 0; ok = 0

/* code: sweep_reoffer() SQL_SWEEP_REOFFER */
#define reoffer(n) \
	:: atomic { n < used && cmd[n].published && !cmd[n].done && !cmd[n].leased && cmd[n].attempts < ATTEMPTS && !cmd_bus[n] && !cmd_hand[n] -> \
		cmd[n].published = 0 } \
	:: atomic { evt[n].there && evt[n].published && !evt[n].done && !evt_bus[n] && !evt_hand[n] -> evt[n].published = 0 }

/* code: sweep_exhausted() SQL_SWEEP_EXHAUSTED SQL_SWEEP_GIVE_UP */
#define exhausted(n) \
	:: atomic { n < used && !cmd[n].done && !cmd[n].leased && cmd[n].attempts >= ATTEMPTS -> \
		i = n; seen = epoch; mine = (current == n); goto exhausted_say }

active proctype janitor()
{
	byte i, seen;
	bit mine, ok;

end_life:
	do
#ifndef NO_REOFFER
	each(reoffer)
#endif
#ifndef NO_LAST_WORD
	each(exhausted)
#endif
	/* code: sweep_expired() SQL_SWEEP_EXPIRED SQL_SWEEP_EXPIRED_SAID */
	:: atomic { waits ->
		seen = waits_epoch;
#ifdef NO_WORD_BEFORE_THE_MARK
		waits = 0;
#endif
		goto expired_say }
#ifdef TIMERS
	/* code: sweep_deadlines() SQL_SWEEP_DEADLINES */
	:: atomic { !settled && !cancel && !late -> seen = epoch; late = 1; goto late_say }
	:: atomic { status == EXEC && cancel -> seen = epoch; goto late_say }
#endif
	od;

exhausted_say:
	if
	:: atomic { mine && as_read && !settled ->
		assert(epoch == seen);	/* epoch */
		if
		:: status == EXEC -> enter(PARKED, UNKNOWN)
		:: else -> enter(PARKED, NO_WORKER)
		fi;
		ok = 1 }
	:: atomic { !(mine && as_read && !settled) -> ok = 1 }
	:: atomic { misses < MISSES -> misses++ }
	:: atomic { dies; rest; goto end_life }
	fi;
	if	/* only what the case has heard of is given up */
#ifdef NO_WORD_BEFORE_GIVING_UP
	:: atomic { over(i); rest; goto end_life }
#else
	:: atomic { ok -> over(i); rest; goto end_life }
	:: atomic { !ok -> rest; goto end_life }
#endif
	:: atomic { dies; rest; goto end_life }
	fi;

expired_say:
	if
	:: atomic { status == GATE && as_read ->
		assert(epoch == seen);
		enter(PARKED, EXPIRED);
		ok = 1 }
	:: atomic { !(status == GATE && as_read) -> ok = 1 }
	:: atomic { misses < MISSES -> misses++ }
	:: atomic { dies; rest; goto end_life }
	fi;
	if	/* the mark takes it out of the sweep: so only when the case knows */
	:: atomic { ok -> if :: waits_epoch == seen -> waits = 0; waits_epoch = 0 :: else -> skip fi; rest; goto end_life }
	:: atomic { !ok -> rest; goto end_life }
	:: atomic { dies; rest; goto end_life }
	fi;

late_say:
	if
	:: atomic { !settled && as_read ->
		assert(epoch == seen);
		if
		:: status == EXEC && !cancel -> cancel = 1		/* code: EV_DEADLINE cancel_work() */
		:: status == EXEC && cancel -> enter(PARKED, UNKNOWN)	/* code: EV_CANCEL_GRACE_OVER */
		:: status == GATE -> enter(PARKED, LATE)
		fi }
	:: atomic { settled || !as_read -> skip }
	:: atomic { misses < MISSES -> misses++; late = 0 }	/* the row is there for the next sweep, too */
	:: atomic { dies; late = 0 }
	fi;
	atomic { rest; goto end_life }
}

/* ---- a person gives another revision of the plan, once. code: EV_PLAN_REVISED ---- */

#ifndef EFFECTS
active proctype person()
{
end_life:
	atomic { status == GATE -> enter(GATE, NOTHING); ask(0) }
}
#endif

/* ---- when nobody can do anything any more ---- */

active proctype end()
{
	byte n;

	atomic { timeout ->
		assert(settled);				/* stuck */
		for (n : 0 .. ROWS - 1) {
			assert(n >= used || cmd[n].done);	/* lost */
			assert(!evt[n].there || evt[n].done)
		} }
}

init
{
	atomic {
		cmd[0].epoch = 1;
		cmd[0].executes = (status == EXEC -> 1 : 0);
		run worker(0);
		run worker(1)
	}
}

ltl ends { <> settled }
