# pool_exhaust: built with PGXS, the build system of PostgreSQL extensions.
#
#   make, make install, make installcheck   for the PostgreSQL of PG_CONFIG
#   make demo, make check                   all by itself, on a throwaway server
#   make check-versions                     make check on PostgreSQL 17, 18 and 19
#   make check-upgrade                      pg_upgrade from PostgreSQL 15 to 17
#   make check-sanitized, check-style       memory errors, undefined behaviour; how the sources look
#   make check-faults                       runs and holds interrupted at random, hundreds of times
#   make check-busy                         every scenario, many times, on a machine that is much too busy
#   make check-members                      a new member of each set, as src/README.md says
#
# make WERROR=1 turns the warnings that "make check" insists on into errors.

SANDBOXED = demo check check-versions check-upgrade check-sanitized check-style check-members check-faults check-busy

# These install what they need first, so nothing here may ask for PostgreSQL
# yet; other goals beside them get a make of their own.
ifneq ($(filter $(SANDBOXED),$(MAKECMDGOALS)),)
.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:
demo:           ; @test/sandbox demo
check:          ; @test/sandbox check $(TESTS)
check-versions: ; @test/versions
check-upgrade:  ; @test/pg_upgrade
check-sanitized: ; @.ci/sanitized $(TESTS)
check-style:    ; @.ci/style
check-members:  ; @test/members
check-faults:   ; @test/sandbox run perl test/interruptions
check-busy:     ; @test/sandbox run perl test/busy
$(filter-out $(SANDBOXED),$(MAKECMDGOALS)): ; @$(MAKE) $@
else

PG_CONFIG ?= pg_config
PGXS      := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
LIBRARIES  = libuv libmicrohttpd libcurl

ifeq ($(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h),)
$(error no PostgreSQL server headers: install postgresql-server-dev-NN, NN being the version of your server, or name its pg_config with PG_CONFIG=)
endif
ifneq ($(shell pkg-config --exists $(LIBRARIES) && echo found),found)
$(error no headers of $(LIBRARIES), or no pkg-config to find them: install pkg-config, libuv1-dev, libmicrohttpd-dev and libcurl4-openssl-dev)
endif

EXTENSION  = pool_exhaust
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pool_exhaust.control)
DATA       = $(wildcard pool_exhaust--*.sql)
MODULE_big = pool_exhaust
OBJS       = $(patsubst %.c,%.o,$(wildcard pool_exhaust.c $(foreach depth,/* /*/* /*/*/* /*/*/*/*,src$(depth).c)))
REGRESS    = surface errors histograms see pool target hold leak run

PG_CPPFLAGS = -Isrc -I$(libpq_srcdir) $(shell pkg-config --cflags $(LIBRARIES)) -DEXTVERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Werror=implicit-function-declaration -Werror=int-conversion $(if $(WERROR),-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers)
SHLIB_LINK  = $(libpq) $(shell pkg-config --libs $(LIBRARIES))

# Bitcode lets the JIT inline functions into a query; ours are called once a
# query, and the bitcode would need the clang that PostgreSQL was built with.
override with_llvm = no

# Ours, below, runs the pgTAP suites too.
NO_INSTALLCHECK = 1

include $(PGXS)

# PGXS does not track headers. There are few, and a full build takes seconds.
$(OBJS): $(wildcard $(foreach depth,/* /*/* /*/*/* /*/*/*/*,src$(depth).h)) Makefile pool_exhaust.control

# Against the running server of the PG* variables. TESTS may name the suites to
# run; their database stays for a look, like that of pg_regress.
TESTS    = $(wildcard test/*.sql)
PSQL     = PGOPTIONS='-c client_min_messages=warning' $(bindir)/psql -X -q -v ON_ERROR_STOP=1
PGTAP_DB = contrib_regression_pgtap

.PHONY: installcheck installcheck-regress installcheck-pgtap preloaded
installcheck:
	@$(MAKE) --no-print-directory installcheck-regress
	@$(MAKE) --no-print-directory installcheck-pgtap

installcheck-regress: preloaded
	$(if $(REGRESS),$(pg_regress_installcheck) $(REGRESS_OPTS) $(REGRESS))

installcheck-pgtap: preloaded
	@$(PSQL) -d postgres -c 'DROP DATABASE IF EXISTS $(PGTAP_DB) WITH (FORCE)' -c 'CREATE DATABASE $(PGTAP_DB)'
	@$(PSQL) -d $(PGTAP_DB) -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION pool_exhaust'
	@$(if $(TESTS),PATH='$(bindir)':$$PATH PGDATABASE=$(PGTAP_DB) test/prove $(TESTS))

preloaded:
	@$(PSQL) -d postgres -Atc 'SHOW shared_preload_libraries' | grep -qw pool_exhaust || { \
		echo "the tests need a server that preloads pool_exhaust: set shared_preload_libraries = 'pool_exhaust' there, and restart it" >&2; exit 1; }

endif
