// Moves records from a queue of librdkafka into a block; record-loop.ts lays out `struct loop`. It parses nothing, and
// hands over what is not plain: an event, and its message where it has one.
typedef unsigned long long size;

struct message { // rd_kafka_message_t
  int error;
  const void *topic;
  int partition;
  const char *value;
  size value_length;
  const char *key;
  size key_length;
  long long offset;
};

struct loop {
  void *(*poll)(void *queue, int timeout_ms);
  const struct message *(*next)(void *event);
  int (*headers)(const struct message *, void **headers);
  int (*epoch)(const struct message *), (*broker_id)(const struct message *);
  void (*destroy)(void *event), *(*memcpy)(void *to, const void *from, size length);
  void *queue;
  const void *topic; // of the last record; `slots` has one for each of its partitions, or -1
  const int *slots;
  size partitions;
  double *next_offset; // by slot
  char *bytes; // of the block; then its columns
  int *slot, *leader_epoch, *key_start, *key_end, *value_start, *value_end;
  double *offset;
  size limit, full, capacity, max_part, max_gap; // records; then bytes
  size count, used, broker; // results
  void *event;
  const struct message *message;
};

// Returns 1 when it hands over, 0 when the queue is empty or the block is full.
int take_records(struct loop *l) {
  while (l->count < l->limit && l->used < l->full) {
    void *event = l->event = l->poll(l->queue, 0), *headers;
    if (!event) return 0;
    const struct message *m = l->message = l->next(event);
    if (!m || m->topic != l->topic || (size)m->partition >= l->partitions || l->slots[m->partition] < 0) return 1;
    int slot = l->slots[m->partition], i = l->count;
    size at = l->used, start = m->value - m->key, end = start + m->value_length;
    // A key that is NULL is far from its value.
    if (!m->value || start - m->key_length > l->max_gap || at + end >= l->capacity) return 1;
    if (m->key_length > l->max_part || m->value_length > l->max_part) return 1;
    if (m->offset < l->next_offset[slot] || l->headers(m, &headers) == 0) return 1;
    l->memcpy(l->bytes + at, m->key, end);
    l->bytes[at + end] = '\n';
    l->slot[i] = slot, l->offset[i] = m->offset, l->leader_epoch[i] = l->epoch(m);
    l->key_start[i] = at, l->key_end[i] = at + m->key_length;
    l->value_start[i] = at + start, l->value_end[i] = at + end;
    l->next_offset[slot] = m->offset + 1;
    l->used = at + end + 1, l->count = i + 1, l->broker = l->broker_id(m);
    l->destroy(event);
  }
  return 0;
}
