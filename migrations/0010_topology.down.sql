DROP INDEX ix_topo_open;
DROP TABLE topo_discovery;
DROP TABLE topo_resource;
