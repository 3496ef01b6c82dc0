/*
 * Who may ask and how much, for the gateway as a whole: teams, keys, shared limits; and no door that stands open by
 * mistake.
 */
#include "config/address.h"
#include "config/build.h"

#define GATEWAYS_MAX 1000
#define WEIGHT_MAX 1000

static void build_teams(struct build *build, const struct raw *raw, const struct tree_node *node)
{
    const struct tree_node *item = node ? node->first : NULL;
    struct config *config = build->config;
    struct name_list names = {0};

    build->teams_unsure = node && (node->bad || node->partial);
    config->teams = arena_zeroed(&config->arena, raw->teams_count * sizeof(*config->teams));
    for (uint32_t i = 0; i < raw->teams_count; i++, item = item->next) {
        struct config_team *team = &config->teams[config->team_count++];
        const struct raw_team *from = &raw->teams[i];

        team->weight = 1;
        if (!item->bad) {
            build_name(build, tree_member(item, BYTES("name")), from->name, &team->name);
            build_count(build, item, "weight", from->weight, 1, WEIGHT_MAX, &team->weight);
            build_quota(build, from->quota, tree_member(item, BYTES("quota")), &team->quota);
        }
        build->teams_unsure = build->teams_unsure || build_name_unsure(item, team->name);
        names_add(&names, team->name, tree_member(item, BYTES("name")));
    }
    names_check(build, &names, "the name of a team");
}

static void build_shared(struct build *build, const struct raw_admission *raw, const struct tree_node *node)
{
    struct config_admission *admission = &build->config->admission;

    *admission = (struct config_admission){.gateways = 1, .lease_ms = 30000};
    admission->redis = (struct config_redis){.prefix = BYTES("embergate"), .connect_ms = 1000, .deadline_ms = 20};
    if (!raw)
        return;
    build_quota(build, raw->quota, tree_member(node, BYTES("quota")), &admission->quota);
    build_redis(build, raw->redis, tree_member(node, BYTES("redis")), &admission->redis);
    build_count(build, node, "gateways", raw->gateways, 1, GATEWAYS_MAX, &admission->gateways);
    build_duration_between(build, tree_member(node, BYTES("lease")), raw->lease, "1s", "10m", &admission->lease_ms);
    build_flag(build, tree_member(node, BYTES("charge_joined")), raw->charge_joined, &admission->charge_joined);
    build_flag(build, tree_member(node, BYTES("charge_hits")), raw->charge_hits, &admission->charge_hits);
    build_flag(build, tree_member(node, BYTES("open")), raw->open, &admission->open);
}

/* Without keys, whoever reaches a listener may ask: so only this machine reaches it, unless the file says that this is
 * meant. Keys that cannot be read count as keys. */
static void check_doors(struct build *build, const struct tree_node *root, const char *option)
{
    static const char hint[] = "is reachable from other machines, and anyone who reaches it may ask: give keys "
                               "(embergate key new makes one), or say admission: {open: true}";
    const struct tree_node *list = tree_member(root, BYTES("listen")), *keys = tree_member(root, BYTES("keys")),
                           *admission = tree_member(root, BYTES("admission"));
    const struct tree_node *node = list ? list->first : NULL;
    const struct config *config = build->config;

    if (config->admission.open || tree_given(root, BYTES("keys_file")) || (keys && (keys->bad || keys->count)) ||
        (admission && admission->bad))
        return;
    for (uint32_t i = 0; i < config->listen_count; i++, node = node ? node->next : NULL) {
        const struct config_address *address = &config->listen[i];

        if ((!address->host.size && !address->unix_path.size) || address_is_local(address))
            continue;
        if (option)
            report_option(build->report, "--listen", "%s", hint);
        else
            report_node(build->report, node, "%s", hint);
    }
}

void build_admission(struct build *build, const struct raw *raw, const struct tree_node *root, const char *option)
{
    const struct tree_node *file = tree_member(root, BYTES("keys_file"));
    struct config *config = build->config;
    struct bytes path;

    build_teams(build, raw, tree_member(root, BYTES("teams")));
    build_shared(build, raw->admission, tree_member(root, BYTES("admission")));
    if (raw->keys.list_count)
        config->keys = build_keys(build, &raw->keys, tree_member(root, BYTES("keys")));
    if (build_text(build, file, raw->keys_file, &path))
        config->keys_file = build_path(build, path);
    check_doors(build, root, option);
}
