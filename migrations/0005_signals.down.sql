DROP TABLE detector_state;
DROP TABLE maintenance_window;
DROP TABLE signal;
