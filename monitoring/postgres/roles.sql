-- Creates the roles of the stack. The image of PostgreSQL runs this file once, when its volume is new, as its superuser.

-- From the environment of the container (compose.yaml).
\getenv password DB_PASSWORD
\getenv grafana_password GRAFANA_DB_PASSWORD

-- The programs: the owner of the database, which may create the tables in it and nothing outside of it.
create role pipeline_user login password :'password';
alter database data_pipeline owner to pipeline_user;

-- Grafana: reads all tables, also those of later versions, and writes none.
create role grafana login password :'grafana_password' connection limit 20 in role pg_read_all_data;
alter role grafana set default_transaction_read_only = on;
alter role grafana set statement_timeout = '30s';

-- The superuser has no password, so it cannot log in over the network:
-- `docker compose exec postgres psql -U postgres data_pipeline` uses the socket in the container.
alter role postgres password null;
