// What is searched around: a loaded point by its position in `sorted`, or a place that is no point of the cloud by its row.

struct Query {
    at: vec3<f32>,
    row: u32,
    // Among the loaded points.
    index: u32,
}

fn query_of(position: u32) -> Query {
    #if FOREIGN
    let at = 3u * position;
    return Query(vec3<f32>(queries[at], queries[at + 1u], queries[at + 2u]), position, NO_NEIGHBOR);
    #else
    let own = sorted[position];
    let index = bitcast<u32>(own.w);
    #if HALO
    return Query(own.xyz, rows[index], index);
    #else
    return Query(own.xyz, index, index);
    #end
    #end
}
