"""peer_sql.py - a case's transition as one statement: what pgbench runs next to ours. Cases ffffffff-..., 40,000 of them."""

PEER = "pgbench -M prepared, one statement (UPDATE + timeline + 2 outbox rows), fsync on"

PEER_SQL = r"""
\set n random(0, 39999)
WITH u AS (UPDATE ops_case SET status = 'ANALYZING', version = version + 1, epoch = epoch + 1, cmd_id = nextval('outbox_id_seq'),
 cmd_topic = 'cmd.analysis.run', deadline_at = now() + interval '300 seconds', timeline_seq = timeline_seq + 1,
 timeline_head = decode('00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', 'hex'), entered_at = now(), updated_at = now()
 WHERE tenant_id = :t AND id = ('ffffffff-0000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid
 RETURNING id, tenant_id, tenant, cmd_id, version, epoch, timeline_seq, timeline_head),
t AS (INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, meta, canonical, hash)
 SELECT tenant_id, id, timeline_seq, 'start_analysis', 'bench', '{"role": "operator", "asks": "cmd.analysis.run"}',
 '{"actor":"bench","at":"2026-01-01T00:00:00.000000Z","case":"ffffffff-0000-4000-8000-000000000000","epoch":2,"event":"start_analysis","from":"NEW","meta":{"asks":"cmd.analysis.run","role":"operator"},"seq":1,"tenant":"t-bench","to":"ANALYZING","version":2}',
 timeline_head FROM u)
INSERT INTO outbox (id, tenant_id, case_id, kind, topic, key, payload, epoch, case_version, max_attempts)
 SELECT CASE v.k WHEN 'c' THEN u.cmd_id ELSE nextval('outbox_id_seq') END, u.tenant_id, u.id, v.k::"char", v.topic, u.tenant, v.p::jsonb, u.epoch, u.version, 5
 FROM u, (VALUES ('c', 'cmd.analysis.run', '{"drive":"manual","from_event":"start_analysis","actor":"bench","args":{}}'),
 ('x', 'evt.case.transition.v1', '{"case_id":"ffffffff-0000-4000-8000-000000000000","title":"bench","event":"start_analysis","from":"NEW","to":"ANALYZING","version":2,"epoch":2,"actor":"bench"}')) v(k, topic, p);
"""
