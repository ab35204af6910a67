// Declares the C functions of librdkafka that the program calls, and the constants of its API.

import { FFIType } from "bun:ffi";

const u64 = FFIType.u64_fast;
const i64 = FFIType.i64_fast;

// Handles and pointers are "ptr"; names that C reads only during the call are "cstring" (Bun makes a copy that lives
// as long as the call). Sizes and offsets are *_fast: a number unless above 2^53.

/** The functions of librdkafka, and four of the C library that it is linked with. */
export const SYMBOLS = {
  memcpy: { args: ["ptr", "ptr", u64], returns: "void" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },

  rd_kafka_version_str: { args: [], returns: "cstring" },
  rd_kafka_err2name: { args: ["i32"], returns: "cstring" },
  rd_kafka_err2str: { args: ["i32"], returns: "cstring" },
  rd_kafka_last_error: { args: [], returns: "i32" },
  rd_kafka_fatal_error: { args: ["ptr", "ptr", u64], returns: "i32" },
  rd_kafka_error_code: { args: ["ptr"], returns: "i32" },
  rd_kafka_error_string: { args: ["ptr"], returns: "cstring" },
  rd_kafka_error_destroy: { args: ["ptr"], returns: "void" },

  rd_kafka_conf_new: { args: [], returns: "ptr" },
  rd_kafka_conf_set: { args: ["ptr", "cstring", "cstring", "ptr", u64], returns: "i32" },
  rd_kafka_conf_get: { args: ["ptr", "cstring", "ptr", "ptr"], returns: "i32" },
  rd_kafka_conf_enable_sasl_queue: { args: ["ptr", "i32"], returns: "void" },
  rd_kafka_conf_set_events: { args: ["ptr", "i32"], returns: "void" },
  rd_kafka_conf_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_new: { args: ["i32", "ptr", "ptr", u64], returns: "ptr" },
  rd_kafka_destroy_flags: { args: ["ptr", "i32"], returns: "void" },
  rd_kafka_clusterid: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_mem_free: { args: ["ptr", "ptr"], returns: "void" },
  rd_kafka_set_log_queue: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_sasl_set_credentials: { args: ["ptr", "cstring", "cstring"], returns: "ptr" },

  rd_kafka_oauthbearer_set_token: {
    args: ["ptr", "cstring", i64, "cstring", "ptr", u64, "ptr", u64],
    returns: "i32",
  },
  rd_kafka_oauthbearer_set_token_failure: { args: ["ptr", "cstring"], returns: "i32" },

  rd_kafka_topic_new: { args: ["ptr", "cstring", "ptr"], returns: "ptr" },
  rd_kafka_topic_destroy: { args: ["ptr"], returns: "void" },

  rd_kafka_queue_new: { args: ["ptr"], returns: "ptr" },
  rd_kafka_queue_get_main: { args: ["ptr"], returns: "ptr" },
  rd_kafka_queue_get_sasl: { args: ["ptr"], returns: "ptr" },
  rd_kafka_queue_get_consumer: { args: ["ptr"], returns: "ptr" },
  rd_kafka_queue_get_partition: { args: ["ptr", "cstring", "i32"], returns: "ptr" },
  rd_kafka_queue_forward: { args: ["ptr", "ptr"], returns: "void" },
  rd_kafka_queue_poll: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_queue_io_event_enable: { args: ["ptr", "i32", "ptr", u64], returns: "void" },
  rd_kafka_queue_destroy: { args: ["ptr"], returns: "void" },

  rd_kafka_event_type: { args: ["ptr"], returns: "i32" },
  rd_kafka_event_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_event_error: { args: ["ptr"], returns: "i32" },
  rd_kafka_event_error_string: { args: ["ptr"], returns: "cstring" },
  rd_kafka_event_error_is_fatal: { args: ["ptr"], returns: "i32" },
  rd_kafka_event_opaque: { args: ["ptr"], returns: "ptr" },
  rd_kafka_event_log: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  rd_kafka_event_topic_partition: { args: ["ptr"], returns: "ptr" },
  rd_kafka_event_topic_partition_list: { args: ["ptr"], returns: "ptr" },
  rd_kafka_event_message_next: { args: ["ptr"], returns: "ptr" },
  rd_kafka_event_message_array: { args: ["ptr", "ptr", u64], returns: u64 },

  rd_kafka_message_headers: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_message_leader_epoch: { args: ["ptr"], returns: "i32" },
  rd_kafka_header_get_all: { args: ["ptr", u64, "ptr", "ptr", "ptr"], returns: "i32" },

  rd_kafka_topic_partition_list_new: { args: ["i32"], returns: "ptr" },
  rd_kafka_topic_partition_list_add: { args: ["ptr", "cstring", "i32"], returns: "ptr" },
  rd_kafka_topic_partition_list_set_offset: { args: ["ptr", "cstring", "i32", i64], returns: "i32" },
  rd_kafka_topic_partition_set_leader_epoch: { args: ["ptr", "i32"], returns: "void" },
  rd_kafka_topic_partition_list_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_topic_partition_destroy: { args: ["ptr"], returns: "void" },

  rd_kafka_poll_set_consumer: { args: ["ptr"], returns: "i32" },
  rd_kafka_subscribe: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_unsubscribe: { args: ["ptr"], returns: "i32" },
  rd_kafka_subscription: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_rebalance_protocol: { args: ["ptr"], returns: "cstring" },
  rd_kafka_assignment_lost: { args: ["ptr"], returns: "i32" },
  rd_kafka_incremental_assign: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_incremental_unassign: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_pause_partitions: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_resume_partitions: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_seek_partitions: { args: ["ptr", "ptr", "i32"], returns: "ptr" },
  rd_kafka_consumer_group_metadata: { args: ["ptr"], returns: "ptr" },
  rd_kafka_consumer_group_metadata_generation_id: { args: ["ptr"], returns: "i32" },
  rd_kafka_consumer_group_metadata_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_position: { args: ["ptr", "ptr"], returns: "i32" },
  rd_kafka_commit_queue: { args: ["ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  rd_kafka_consumer_close_queue: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_consumer_closed: { args: ["ptr"], returns: "i32" },

  rd_kafka_produce: {
    args: ["ptr", "i32", "i32", "ptr", u64, "ptr", u64, "ptr"],
    returns: "i32",
  },
  rd_kafka_outq_len: { args: ["ptr"], returns: "i32" },
  rd_kafka_flush: { args: ["ptr", "i32"], returns: "i32" },
  rd_kafka_purge: { args: ["ptr", "i32"], returns: "i32" },

  rd_kafka_AdminOptions_new: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_AdminOptions_set_request_timeout: { args: ["ptr", "i32", "ptr", u64], returns: "i32" },
  rd_kafka_AdminOptions_set_isolation_level: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_AdminOptions_set_validate_only: { args: ["ptr", "i32", "ptr", u64], returns: "i32" },
  rd_kafka_AdminOptions_set_include_authorized_operations: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_AdminOptions_set_opaque: { args: ["ptr", "ptr"], returns: "void" },
  rd_kafka_AdminOptions_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_ListOffsets: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "void" },
  rd_kafka_ListOffsets_result_infos: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_ListOffsetsResultInfo_topic_partition: { args: ["ptr"], returns: "ptr" },
  rd_kafka_TopicCollection_of_topic_names: { args: ["ptr", u64], returns: "ptr" },
  rd_kafka_TopicCollection_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_DescribeTopics: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "void" },
  rd_kafka_DescribeTopics_result_topics: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_TopicDescription_name: { args: ["ptr"], returns: "cstring" },
  rd_kafka_TopicDescription_error: { args: ["ptr"], returns: "ptr" },
  rd_kafka_TopicDescription_topic_id: { args: ["ptr"], returns: "ptr" },
  rd_kafka_TopicDescription_partitions: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_TopicDescription_authorized_operations: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_TopicPartitionInfo_partition: { args: ["ptr"], returns: "i32" },
  rd_kafka_TopicPartitionInfo_leader: { args: ["ptr"], returns: "ptr" },
  rd_kafka_TopicPartitionInfo_isr: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_TopicPartitionInfo_replicas: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_Uuid_most_significant_bits: { args: ["ptr"], returns: "i64" },
  rd_kafka_Uuid_least_significant_bits: { args: ["ptr"], returns: "i64" },
  rd_kafka_DescribeConsumerGroups: { args: ["ptr", "ptr", u64, "ptr", "ptr"], returns: "void" },
  rd_kafka_DescribeConsumerGroups_result_groups: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_ConsumerGroupDescription_error: { args: ["ptr"], returns: "ptr" },
  rd_kafka_ConsumerGroupDescription_state: { args: ["ptr"], returns: "i32" },
  rd_kafka_ConsumerGroupDescription_member_count: { args: ["ptr"], returns: u64 },
  rd_kafka_ConsumerGroupDescription_member: { args: ["ptr", u64], returns: "ptr" },
  rd_kafka_MemberDescription_assignment: { args: ["ptr"], returns: "ptr" },
  rd_kafka_MemberAssignment_partitions: { args: ["ptr"], returns: "ptr" },
  rd_kafka_DescribeCluster: { args: ["ptr", "ptr", "ptr"], returns: "void" },
  rd_kafka_DescribeCluster_result_nodes: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_Node_host: { args: ["ptr"], returns: "cstring" },
  rd_kafka_Node_port: { args: ["ptr"], returns: "u16" },
  rd_kafka_ConsumerGroupDescription_authorized_operations: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_NewTopic_new: { args: ["cstring", "i32", "i32", "ptr", u64], returns: "ptr" },
  rd_kafka_NewTopic_set_config: { args: ["ptr", "cstring", "cstring"], returns: "i32" },
  rd_kafka_NewTopic_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_CreateTopics: { args: ["ptr", "ptr", u64, "ptr", "ptr"], returns: "void" },
  rd_kafka_CreateTopics_result_topics: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_topic_result_name: { args: ["ptr"], returns: "cstring" },
  rd_kafka_topic_result_error: { args: ["ptr"], returns: "i32" },
  rd_kafka_topic_result_error_string: { args: ["ptr"], returns: "cstring" },
  rd_kafka_ConfigResource_new: { args: ["i32", "cstring"], returns: "ptr" },
  rd_kafka_ConfigResource_error: { args: ["ptr"], returns: "i32" },
  rd_kafka_ConfigResource_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_ConfigResource_configs: { args: ["ptr", "ptr"], returns: "ptr" },
  rd_kafka_ConfigEntry_name: { args: ["ptr"], returns: "cstring" },
  rd_kafka_ConfigEntry_value: { args: ["ptr"], returns: "cstring" },
  rd_kafka_DescribeConfigs: { args: ["ptr", "ptr", u64, "ptr", "ptr"], returns: "void" },
  rd_kafka_DescribeConfigs_result_resources: { args: ["ptr", "ptr"], returns: "ptr" },

  rd_kafka_mock_cluster_new: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_mock_cluster_destroy: { args: ["ptr"], returns: "void" },
  rd_kafka_mock_cluster_bootstraps: { args: ["ptr"], returns: "cstring" },
  rd_kafka_mock_topic_create: { args: ["ptr", "cstring", "i32", "i32"], returns: "i32" },
  rd_kafka_mock_set_controller_id: { args: ["ptr", "i32"], returns: "void" },
  rd_kafka_mock_group_initial_rebalance_delay_ms: { args: ["ptr", "i32"], returns: "void" },
} as const;

/** Event types (rd_kafka_event_type_t), and the bits that ask for them. */
export const EventType = {
  delivery: 0x1,
  log: 0x4,
  error: 0x8,
  rebalance: 0x10,
  offsetCommit: 0x20,
  oauthToken: 0x100,
} as const;

/** Admin operations (rd_kafka_admin_op_t). */
export const AdminOperation = {
  createTopics: 1,
  describeConfigs: 5,
  describeConsumerGroups: 13,
  describeTopics: 19,
  describeCluster: 20,
  listOffsets: 21,
} as const;

/** Offsets that stand for a place in the log instead of a number. */
export const LogicalOffset = { end: -1, beginning: -2 } as const;
