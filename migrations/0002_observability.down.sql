-- Extensions stay: they belong to the database, and others may use them.
SELECT ag_catalog.drop_graph('ops', true);
DROP TABLE table_registry, etl_job_circuit, etl_job_run, evidence_link, event_envelope, kb_chunk, kb_doc, topo_edge_time,
	log_pattern, metric_series, oo_locator, dim_resource;
-- A hypertable is dropped on its own: TimescaleDB refuses it in a list.
DROP TABLE log_pattern_5m;
DROP TABLE service_call_5m;
DROP TABLE metric_1m;
DROP TYPE severity;
