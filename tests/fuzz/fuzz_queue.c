/*
 * Anything done to a queue, two bytes each, next to a model that is slow and plain: arrays, and rounds that are walked
 * one by one. Both give the same turns at the same moments to the same waiters, in two mailboxes opened now and then;
 * nobody's turn comes later than the position told.
 */
#include "admit/queue.h"

#include <stdlib.h>

#define PEOPLE 40
#define TEAMS 6
#define NOBODY (-1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
    if (!good)
        abort();
}

/* --- the model --- */

struct model_team {
    unsigned name;
    int64_t balance, weight;
    bool visited;
    unsigned count;
    int waiters[PEOPLE];
};

struct model {
    struct model_team ring[TEAMS];
    unsigned teams, length, offers;
    int turn;
    int64_t cost[PEOPLE];
};

static void model_drop_team(struct model *model, unsigned at)
{
    model->teams--;
    memmove(&model->ring[at], &model->ring[at + 1], (model->teams - at) * sizeof(model->ring[0]));
}

static bool model_done(const struct model_team *team)
{
    return team->count == 0 && team->balance >= 0;
}

/* The first in front of the ring, once the rounds that bring nobody a turn are walked. */
static int model_next(struct model *model)
{
    for (;;) {
        struct model_team *front = &model->ring[0], passed;

        if (!front->visited)
            front->balance += front->weight;
        front->visited = true;
        if (front->count && front->balance > 0)
            return front->waiters[0];
        front->visited = false;
        passed = *front;
        model_drop_team(model, 0);
        if (!model_done(&passed))
            model->ring[model->teams++] = passed;
    }
}

static void model_give(struct model *model)
{
    if (model->offers > model->length)
        model->offers = model->length;
    if (model->turn != NOBODY || model->offers == 0)
        return;
    model->offers--;
    model->turn = model_next(model);
}

static void model_offer(struct model *model)
{
    model->offers++;
    model_give(model);
}

static void model_join(struct model *model, int who, unsigned name, int64_t weight, int64_t cost)
{
    bool all_tried = model->length > 0 && model->turn == NOBODY;
    unsigned at = 0;

    while (at < model->teams && model->ring[at].name != name)
        at++;
    if (at == model->teams)
        model->ring[model->teams++] = (struct model_team){.name = name};
    model->ring[at].weight = weight ? weight : 1;
    model->ring[at].waiters[model->ring[at].count++] = who;
    model->cost[who] = cost ? cost : 1;
    model->length++;
    if (!all_tried)
        model_offer(model);
}

/* PAY: it had its turn and used it. */
static void model_remove(struct model *model, int who, bool pay)
{
    for (unsigned t = 0; t < model->teams; t++) {
        struct model_team *team = &model->ring[t];
        unsigned i = 0;

        while (i < team->count && team->waiters[i] != who)
            i++;
        if (i == team->count)
            continue;
        team->count--;
        memmove(&team->waiters[i], &team->waiters[i + 1], (team->count - i) * sizeof(team->waiters[0]));
        team->balance -= pay ? model->cost[who] : 0;
        if (model_done(team))
            model_drop_team(model, t);
        break;
    }
    if (--model->length == 0)
        model->teams = 0;
    if (model->turn == who) {
        model->turn = NOBODY;
        model->offers += !pay;
    }
    model_give(model);
}

/* Turns until WHO has one. */
static unsigned model_position(struct model model, int who)
{
    for (unsigned turns = 0;; turns++) {
        int next = model_next(&model);

        if (next == who)
            return turns;
        model.turn = next;
        model.offers = 0;
        model_remove(&model, next, true);
    }
}

/* --- both --- */

static uv_loop_t loop;
static struct mailbox homes[2];

struct person {
    struct waiter waiter;
    int number;
};

static struct stage {
    struct queue *queue;
    struct model model;
    struct person people[PEOPLE];
    unsigned most;
    int told;                   /* has opened its letter, and not answered */
} stage;

static void on_turn(void *data)
{
    expect(stage.told == NOBODY);
    stage.told = ((struct person *)data)->number;
    expect(stage.told == stage.model.turn);
}

static void begin(void)
{
    uv_loop_init(&loop);
    loop.data = &stage;
    mailbox_init(&homes[0], &loop);
    mailbox_init(&homes[1], &loop);
    uv_ref((uv_handle_t *)&homes[0].bell);
}

static void open_letters(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    expect(stage.told == stage.model.turn);
}

static void join(struct person *person, unsigned what)
{
    static const uint32_t costs[] = {1, 1, 0, 2, 7, 64, 100, 1000};
    unsigned team = what % TEAMS, weight = what / TEAMS % 5;
    uint32_t cost = costs[(what >> 3 ^ what) % 8];
    char name = (char)('a' + team);
    int result;

    if (person->waiter.queue)
        return;
    result = queue_join(stage.queue, &person->waiter, (struct bytes){&name, team != 0}, weight, cost, what);
    expect(result == (stage.model.length < stage.most ? 0 : QUEUE_E_FULL));
    if (result == 0)
        model_join(&stage.model, person->number, team, weight, cost);
}

static void leave(struct person *person)
{
    if (person->waiter.queue)
        model_remove(&stage.model, person->number, false);
    if (stage.told == person->number)
        stage.told = NOBODY;
    queue_leave(&person->waiter);
}

static void answer(bool got_it)
{
    struct waiter *waiter = &stage.people[stage.told].waiter;
    int who = stage.told;

    stage.told = NOBODY;
    if (got_it) {
        model_remove(&stage.model, who, true);
        queue_take(waiter);
        return;
    }
    stage.model.turn = NOBODY;
    model_give(&stage.model);
    queue_stay(waiter);
}

static void offer(void)
{
    if (stage.model.length)
        model_offer(&stage.model);
    queue_offer(stage.queue);
}

static void ask_position(struct person *person)
{
    unsigned position;

    if (!person->waiter.queue)
        return;
    position = queue_position(&person->waiter);
    expect(position < stage.model.length);
    expect(position >= model_position(stage.model, person->number));
}

static void act(uint8_t deed, uint8_t what)
{
    struct person *person = &stage.people[(deed >> 3 ^ what) % PEOPLE];

    switch (deed % 8) {
    case 0:
    case 1:
        join(person, what);
        break;
    case 2:
        leave(person);
        break;
    case 3:
        offer();
        break;
    case 4:
    case 5:
        if (stage.told != NOBODY)
            answer(deed % 8 == 4);
        break;
    case 6:
        open_letters();
        break;
    default:
        ask_position(person);
    }
    expect(queue_length(stage.queue) == stage.model.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop.data)
        begin();
    stage.most = size % 4 ? 20 : 2; /* now and then there is hardly any room */
    stage.queue = queue_new(stage.most, 1000);
    stage.model = (struct model){.turn = NOBODY};
    stage.told = NOBODY;
    for (int i = 0; i < PEOPLE; i++) {
        stage.people[i].number = i;
        waiter_init(&stage.people[i].waiter, &homes[i % 2], on_turn, &stage.people[i]);
    }
    for (size_t i = 0; i + 2 <= size; i += 2)
        act(data[i], data[i + 1]);
    for (int i = 0; i < PEOPLE; i++)
        leave(&stage.people[i]);
    open_letters();
    expect(queue_length(stage.queue) == 0);
    stage.queue = queue_free(stage.queue);
    return 0;
}
