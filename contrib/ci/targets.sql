-- What the runs need, in the database that keeps their results: psql -U postgres

CREATE ROLE app LOGIN PASSWORD 'app';
CREATE DATABASE app OWNER app;

CREATE EXTENSION pool_exhaust;

CREATE SERVER my_pgbouncer FOREIGN DATA WRAPPER pool_exhaust
	OPTIONS (kind 'pgbouncer', host 'pgbouncer', port '6432', dbname 'app', sslmode 'disable');
CREATE USER MAPPING FOR CURRENT_USER SERVER my_pgbouncer
	OPTIONS (user 'app', password 'app', console_user 'stats', console_password 'stats');

CREATE SERVER my_service FOREIGN DATA WRAPPER pool_exhaust
	OPTIONS (kind 'http', url 'http://service:8000', path '/report', liveness_path '/livez', other_path '/about');
