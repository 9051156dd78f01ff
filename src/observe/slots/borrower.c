/*
 * borrower.c
 *		Reads what the session in a slot says of its borrower.
 */
#include "postgres.h"

#include "observe/slots/borrower.h"
#include "shmem/shared.h"

/* A session that names borrowers all the time is not read in time; it is not idle then, either. */
#define READS_MAX	100

/* Copies it, unless it is being written. */
static bool
borrower_copy(SlotBorrower *said, SlotBorrower *copy)
{
	uint32		before = pg_atomic_read_u32(&said->version);

	pg_read_barrier();
	copy->pid = said->pid;
	copy->started = said->started;
	copy->borrower = said->borrower;
	pg_read_barrier();
	return before % 2 == 0 && pg_atomic_read_u32(&said->version) == before;
}

static bool
said_by(const volatile SlotBorrower *said, int pid)
{
	return said->pid == pid && said->borrower.named;
}

bool
borrower_read(int number, const Slot *slot, Borrower *borrower)
{
	SlotBorrower *said = &session_slots[number].borrower;
	SlotBorrower copy;

	/* Most sessions say nothing: then it is not copied. */
	for (int i = 0; i < READS_MAX && said_by(said, slot->pid); i++)
	{
		if (!borrower_copy(said, &copy))
			continue;
		if (copy.pid != slot->pid || copy.started != slot->started || !copy.borrower.named)
			break;
		*borrower = copy.borrower;
		return true;
	}
	*borrower = (Borrower) {0};
	return false;
}
