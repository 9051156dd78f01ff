# pool_exhaust: built with PGXS, the build system of PostgreSQL extensions.
#
#   make, make install, make installcheck   for the PostgreSQL of PG_CONFIG
#   make -f ../Makefile VPATH=..            the same from another directory, which gets all that is built
#   make demo, make check                   all by itself, on a throwaway server
#   make check-versions                     make check on PostgreSQL 17, 18 and 19
#   make check-upgrade, check-image         pg_upgrade from PostgreSQL 15 to 17; the extension image on 18
#   make check-package                      the Debian package: built, installed, tested and purged in clean roots
#   make check-sanitized, check-style       memory errors, undefined behaviour; how the sources look
#   make check-faults                       runs and holds interrupted at random, hundreds of times
#   make check-busy                         every scenario, many times, on a machine that is much too busy
#   make check-soak                         everything for an hour: what grows
#   make check-nights                       twenty nights by script, and what the flight recorder tells of them
#   make check-drivers                      load from several servers, many times, and when one of them is gone
#   make check-settings                     every scenario under settings that may be in its way
#   make check-members                      a new member of each set, as src/README.md says
#   make dist                               the archive of what is committed, for PGXN
#
# make WERROR=1 turns the warnings that "make check" insists on into errors.

# Where the sources are. A path with a blank is several words here.
MAKEFILE := $(lastword $(MAKEFILE_LIST))
SOURCES  := $(or $(VPATH),$(patsubst %/,%,$(dir $(MAKEFILE))))
ifneq ($(words $(SOURCES)) $(words $(wildcard $(SOURCES)/pool_exhaust.control)),1 1)
$(error no sources of pool_exhaust in "$(SOURCES)": name their directory with VPATH=, or build in it if there is a blank in its path)
endif

SANDBOXED = demo check check-versions check-upgrade check-image check-package check-sanitized check-style check-members check-faults check-busy check-soak check-nights check-drivers check-settings dist

# These install what they need first, or need nothing, so nothing here may ask
# for PostgreSQL yet; other goals beside them get a make of their own.
ifneq ($(filter $(SANDBOXED),$(MAKECMDGOALS)),)
.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:
demo:           ; @$(SOURCES)/test/sandbox demo
check:          ; @$(SOURCES)/test/sandbox check $(TESTS)
check-versions: ; @$(SOURCES)/test/versions $(RELEASES)
check-upgrade:  ; @$(SOURCES)/test/pg_upgrade
check-image:    ; @$(SOURCES)/test/image
check-package:  ; @$(SOURCES)/test/package
check-sanitized: ; @$(SOURCES)/.ci/sanitized $(TESTS)
check-style:    ; @$(SOURCES)/.ci/style
check-members:  ; @$(SOURCES)/test/members
check-faults:   ; @$(SOURCES)/test/sandbox run perl test/interruptions
check-busy:     ; @$(SOURCES)/test/sandbox run perl test/busy
check-soak:     ; @$(SOURCES)/test/sandbox run perl test/soak
check-nights:   ; @$(SOURCES)/test/sandbox run perl test/nights
check-drivers:  ; @$(SOURCES)/test/sandbox run perl test/drivers_rounds
check-settings: ; @$(SOURCES)/test/sandbox run perl test/settings

DISTNAME = pool_exhaust-$(shell sed -n 's/^   "version": "\(.*\)",/\1/p' $(SOURCES)/META.json)
dist:
	@git -C $(SOURCES) archive --format=zip --prefix=$(DISTNAME)/ HEAD . >$(DISTNAME).zip || { rm -f $(DISTNAME).zip; exit 1; }
	@echo $(DISTNAME).zip has what is committed
$(filter-out $(SANDBOXED),$(MAKECMDGOALS)): ; @$(MAKE) -f $(MAKEFILE) $@
else

PG_CONFIG ?= pg_config
PGXS      := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
LIBRARIES  = libuv libmicrohttpd libcurl

PG_HEADERS := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
PG_MAJOR   := $(shell $(PG_CONFIG) --version 2>/dev/null | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
ifneq ($(filter 8 9 10 11 12 13 14,$(PG_MAJOR)),)
$(error $(PG_CONFIG) is that of PostgreSQL $(PG_MAJOR), and pool_exhaust needs 15 or newer: name the pg_config of such a server with PG_CONFIG=)
endif
ifeq ($(wildcard $(PG_HEADERS)/postgres.h),)
$(error no PostgreSQL server headers: install postgresql-server-dev-NN, NN being the version of your server, or name its pg_config with PG_CONFIG=)
endif
PG_HEADERS_MAJOR := $(shell sed -n 's/^.define PG_MAJORVERSION "\(.*\)"/\1/p' $(PG_HEADERS)/pg_config*.h)
ifneq ($(filter-out $(PG_MAJOR),$(PG_HEADERS_MAJOR)),)
$(error $(PG_CONFIG) is that of PostgreSQL $(PG_MAJOR), and the headers in $(PG_HEADERS) are those of $(PG_HEADERS_MAJOR): install postgresql-server-dev-$(PG_MAJOR), or name the pg_config of your server with PG_CONFIG=)
endif
# Packages are tested where there are no headers of libraries.
ifneq ($(filter-out installcheck% preloaded clean uninstall,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell pkg-config --exists $(LIBRARIES) && echo found),found)
$(error no headers of $(LIBRARIES), or no pkg-config to find them: install pkg-config, libuv1-dev, libmicrohttpd-dev and libcurl4-openssl-dev)
endif
endif

# The files below src with this ending, as the sources name them
in_src     = $(patsubst $(SOURCES)/%,%,$(wildcard $(foreach depth,/* /*/* /*/*/* /*/*/*/*,$(SOURCES)/src$(depth)$(1))))

EXTENSION  = pool_exhaust
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(SOURCES)/pool_exhaust.control)
DATA       = $(notdir $(wildcard $(SOURCES)/pool_exhaust--*.sql))
MODULE_big = pool_exhaust
OBJS       = pool_exhaust.o $(patsubst %.c,%.o,$(call in_src,.c))
DOCUMENTS  = README.md CHANGELOG.md LICENSE $(shell cd $(SOURCES) && find docs contrib -type f)
REGRESS    = surface errors histograms see pool target hold leak run

PG_CPPFLAGS = -I$(SOURCES)/src -I$(libpq_srcdir) $(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null) -DEXTVERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Werror=implicit-function-declaration -Werror=int-conversion $(if $(WERROR),-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers)
SHLIB_LINK  = $(libpq) $(shell pkg-config --libs $(LIBRARIES) 2>/dev/null)

# Bitcode lets the JIT inline functions into a query; ours are called once a
# query, and the bitcode would need the clang that PostgreSQL was built with.
override with_llvm = no

# Ours, below, runs the pgTAP suites too.
NO_INSTALLCHECK = 1

include $(PGXS)

# make takes what is in the sources for built here.
ifneq ($(realpath $(SOURCES)),$(realpath .))
ifneq ($(wildcard $(OBJS:%=$(SOURCES)/%)),)
$(error there is a build in $(SOURCES): run "make clean" there, or go on with that one)
endif
endif

# PGXS does not track headers. There are few, and a full build takes seconds.
$(OBJS): $(call in_src,.h) Makefile pool_exhaust.control | directories

.PHONY: directories
directories:
	@$(MKDIR_P) $(sort $(dir $(OBJS)))

# DOCS of PGXS are side by side with those of other extensions; these link to
# each other, and so keep their places in a directory of their own.
ifdef docdir
documents_dir = $(docdir)/extension/$(EXTENSION)
install: install-documents
uninstall: uninstall-documents
.PHONY: install-documents uninstall-documents
install-documents:
	@to='$(DESTDIR)$(documents_dir)'; for file in $(DOCUMENTS); do \
		$(MKDIR_P) "$$to/$$(dirname $$file)" && $(INSTALL_DATA) $(SOURCES)/$$file "$$to/$$file" || exit; done
uninstall-documents:
	rm -rf '$(DESTDIR)$(documents_dir)'
endif

# Against the running server of the PG* variables. TESTS may name the suites to
# run; their database stays for a look, like that of pg_regress. Beside sessions of
# others nothing fills the server, but with FILL=1: test/runnable says what it skips.
TESTS    = $(patsubst ./%,%,$(wildcard $(SOURCES)/test/*.sql))
WITH_BIN = PATH='$(bindir)':"$$PATH"
PSQL     = PGOPTIONS='-c client_min_messages=warning' $(bindir)/psql -X -q -v ON_ERROR_STOP=1
PGTAP_DB = contrib_regression_pgtap

.PHONY: installcheck installcheck-regress installcheck-pgtap preloaded
installcheck: preloaded
	@status=0; for part in regress pgtap; do \
		$(MAKE) --no-print-directory -f $(MAKEFILE) installcheck-$$part || status=1; done; exit $$status

installcheck-regress: preloaded
	@tests=$$($(WITH_BIN) $(SOURCES)/test/runnable $(REGRESS)) && \
		$(pg_regress_installcheck) $(REGRESS_OPTS) --launcher=$(SOURCES)/test/settled $$tests

installcheck-pgtap: preloaded
	@tests=$$($(WITH_BIN) $(SOURCES)/test/runnable $(TESTS)) && { [ -z "$$tests" ] || { \
		$(PSQL) -d postgres -c 'DROP DATABASE IF EXISTS $(PGTAP_DB) WITH (FORCE)' -c 'CREATE DATABASE $(PGTAP_DB)' && \
		echo "SELECT 'CREATE EXTENSION ' || name FROM pg_available_extensions WHERE name IN ('pgtap', 'pool_exhaust') \gexec" | $(PSQL) -d $(PGTAP_DB) && \
		$(WITH_BIN) PGDATABASE=$(PGTAP_DB) $(SOURCES)/test/prove $$tests; }; }

preloaded:
	@server=$$($(PSQL) -d postgres -Atc "SELECT current_setting('server_version_num')::int / 10000"); \
	[ "$$server" = $(MAJORVERSION) ] || { [ -z "$$server" ] || \
		echo "the server is PostgreSQL $$server, and $(PG_CONFIG) is that of $(MAJORVERSION): name the pg_config of that server with PG_CONFIG=" >&2; exit 1; }
	@$(PSQL) -d postgres -Atc 'SHOW shared_preload_libraries' | grep -qw pool_exhaust || { \
		echo "the tests need a server that preloads pool_exhaust: set shared_preload_libraries = 'pool_exhaust' there, and restart it" >&2; exit 1; }

endif
